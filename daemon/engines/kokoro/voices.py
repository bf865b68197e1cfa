"""The engine's own ten voices, and which of them is closest to a prompt. Nothing is cloned."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from daemon.engines.kokoro.clip import read_clip
from daemon.engines.kokoro.files import encoder_file, own_data
from daemon.engines.kokoro.model import Floats
from daemon.engines.kokoro.speaker import SpeakerEncoder

#: Names the table in `identity`: change it when voices.npz, bank.npz or the matching changes.
TABLE_VERSION = "10-1"

#: From this similarity on the prompt may well be the voice itself: take it unblended.
SAME_VOICE = 0.8
#: Below this nothing is near, and a blend of strangers is further off than the nearest alone.
BLEND_FROM = 0.5

_BLENDED = 4
_SHARPNESS = 12.0
_REMEMBERED = 32  # half a megabyte each


@dataclass(frozen=True, slots=True)
class Match:
    """The engine's answer to a prompt.

    Attributes:
        voice: name of the closest voice.
        similarity: of its speaker to the prompt's, -1 to 1; the same speaker is above about 0.76.
        style: (510, 256), what the model is given; a blend of the closest voices or the closest alone.
    """

    voice: str
    similarity: float
    style: Floats


def load_voices() -> dict[str, Floats]:
    """Styles by voice name, (510, 256) each.

    Raises:
        EngineUnavailable: the installation lacks the table.
    """
    with np.load(own_data("voices.npz")) as table:
        return {name: table[name].astype(np.float32) for name in table.files}


class VoiceBook:
    """Finds the closest voice to a recording; remembers the last recordings' answers."""

    def __init__(self) -> None:
        self.voices = load_voices()
        self._encoder = SpeakerEncoder(encoder_file())
        with np.load(own_data("bank.npz")) as bank:
            self._bank = np.stack([bank[name] for name in self.voices])
        self._known: OrderedDict[str, Match] = OrderedDict()

    def match(self, prompt: Path, prompt_sha256: str) -> Match:
        """The closest voice to a prompt, by content: a hash seen lately is not listened to again.

        Raises:
            BadClip: the recording cannot serve as a prompt.
        """
        known = self._known.get(prompt_sha256)
        if known is None:
            known = self.listen(prompt)
            self._known[prompt_sha256] = known
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        self._known.move_to_end(prompt_sha256)
        return known

    def listen(self, prompt: Path) -> Match:
        """The closest voice to a recording.

        Raises:
            BadClip: the recording cannot serve as a prompt.
        """
        similarity = self._bank @ self.embed(prompt)
        best = int(similarity.argmax())
        name = list(self.voices)[best]
        return Match(name, float(similarity[best]), self._style(similarity))

    def embed(self, recording: Path) -> Floats:
        """Unit vector (256,) of the speaker heard in the recording.

        Raises:
            BadClip: there is no speaker to hear.
        """
        return self._encoder.embed(read_clip(recording))

    def _style(self, similarity: Floats) -> Floats:
        best = similarity.max()
        count = _BLENDED if BLEND_FROM <= best < SAME_VOICE else 1
        nearest = np.argsort(similarity)[::-1][:count]
        weights = np.exp(_SHARPNESS * (similarity[nearest] - best))
        styles = np.stack(list(self.voices.values()))[nearest]
        return np.tensordot(weights / weights.sum(), styles, axes=1).astype(np.float32)
