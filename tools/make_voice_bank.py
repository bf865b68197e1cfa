"""Makes daemon/engines/kokoro/data/bank.npz: one speaker embedding per shipped voice.

Each voice speaks the sentences below; the embeddings of its clips are averaged. Run it again when voices.npz, the
model or the speaker encoder changes, and count up TABLE_VERSION in daemon/engines/kokoro/voices.py.

    python tools/make_voice_bank.py CACHE_DIR
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import soxr

from daemon.engines.base import EngineSettings
from daemon.engines.kokoro.files import encoder_file, model_file
from daemon.engines.kokoro.model import SAMPLE_RATE, Floats, Model
from daemon.engines.kokoro.phonemes import Phonemizer
from daemon.engines.kokoro.speaker import ENCODER_RATE, SpeakerEncoder
from daemon.engines.kokoro.voices import load_voices

# Both languages for all voices: what is left in common is the speaker.
SENTENCES = (
    "窗外的雨下了一整夜，早晨的空气里有泥土和青草的味道，孩子们背着书包走过石桥。",
    "The old lighthouse keeper climbed the narrow stairs every evening, long before the ships came home.",
)
BANK = Path(__file__).parent.parent / "daemon/engines/kokoro/data/bank.npz"


def main(cache_dir: Path) -> None:
    """Speak, listen, write the bank, and print how alike the voices are."""
    settings = EngineSettings(model_dir=None, device="cpu", options={}, cache_dir=cache_dir)
    model = Model(model_file(settings))
    encoder = SpeakerEncoder(encoder_file())
    phonemizer = Phonemizer(cache_dir)
    texts = [phonemizer.tokens(sentence) for sentence in SENTENCES]

    def embedding(style: Floats) -> Floats:
        clips = [soxr.resample(model.speak(tokens, style, 1.0), SAMPLE_RATE, ENCODER_RATE) for tokens in texts]
        mean = np.mean([encoder.embed(clip) for clip in clips], axis=0)
        return mean / np.linalg.norm(mean)

    bank = {name: embedding(style).astype(np.float32) for name, style in load_voices().items()}
    np.savez(BANK, **bank)
    names = list(bank)
    table = np.stack(list(bank.values()))
    for name, row in zip(names, table @ table.T, strict=True):
        print(f"{name:12}", " ".join(f"{value:5.2f}" for value in row))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
