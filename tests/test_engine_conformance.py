"""What every engine promises, asked of each in its own process: the real ones, IndexTTS on tiny random weights.

INDEXTTSD_TEST_DEVICE=cuda:0 asks it on a GPU.
"""

from __future__ import annotations

import array
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import soundfile

from daemon.audio import Audio
from daemon.engines import SPECS
from daemon.engines.base import Clip, EngineSettings, Segment, SegmentError, Utterance
from daemon.errors import SpeechFailed
from daemon.host import Host
from tests.tiny import common, sides, v2, v15, v25

DEVICE = os.environ.get("INDEXTTSD_TEST_DEVICE", "cpu")
PROMPTS = Path(__file__).parents[1] / "prompts"
TEXT = "你好世界，今天天气很好。HELLO WORLD, THIS IS A GOOD DAY."
SHORT = "你好。"

# Upstream's modules warn of what they do while the tiny checkpoints are made.
pytestmark = pytest.mark.filterwarnings("default")


@dataclass(frozen=True)
class Subject:
    """An engine and what it does not promise.

    Attributes:
        model: makes its weights.
        listens: whether the prompt's recording is heard; `sows`: whether the seed is.
        slack: by how much a sample may differ in other company: matrices of another shape are rounded otherwise.
    """

    name: str
    model: Callable[[pytest.TempPathFactory], Path] | None = None
    listens: bool = True
    sows: bool = True
    slack: int = 0
    request: dict[str, Any] = field(default_factory=dict)


SUBJECTS = [
    Subject("tone", listens=False),
    Subject("kokoro", sows=False),
    Subject("indextts-1.5", v15.folder, slack=2, request={"max_mel_tokens": 40}),
    Subject("indextts-2", v2.folder, slack=2, request={"max_mel_tokens": 40}),
    Subject("indextts-2.5", v25.folder, slack=2, request={"max_mel_tokens": 40}),
]


@dataclass
class Bench:
    """A subject in its process, with voices at hand."""

    subject: Subject
    host: Host
    voices: Path

    def clip(self, name: str) -> Clip:
        file = self.voices / name
        return Clip(file, hashlib.sha256(file.read_bytes()).hexdigest() if file.exists() else "0" * 64)

    def segments(self, text: str = TEXT) -> list[Segment]:
        return self.host.split(text, self.subject.request)

    def segment(self) -> Segment:
        """A short one: the embedded engine takes its time."""
        return self.segments(SHORT)[0]

    def utterance(
        self, segment: Segment, voice: str = "alice.wav", seed: int = 1, *, batched: bool = True
    ) -> Utterance:
        return Utterance(segment, self.clip(voice), self.subject.request, seed=seed, batched=batched)

    def speak(self, *utterances: Utterance) -> list[Audio | SegmentError]:
        return list(self.host.speak(utterances).results)

    def heard(self, *args: Any, **keys: Any) -> bytes:
        [audio] = self.speak(self.utterance(*args, **keys))
        assert isinstance(audio, Audio), audio
        return audio.pcm


@pytest.fixture(scope="module", params=SUBJECTS, ids=lambda subject: subject.name)
def bench(request, tmp_path_factory) -> Iterator[Bench]:
    subject: Subject = request.param
    folder = tmp_path_factory.mktemp(subject.name)
    voices = folder / "prompts"
    voices.mkdir()
    common.write_brief(PROMPTS / "female_zh.wav", voices / "alice.wav")
    common.write_brief(PROMPTS / "male_zh.wav", voices / "bob.wav")
    settings = EngineSettings(
        model_dir=subject.model(tmp_path_factory) if subject.model else None,
        device=DEVICE if subject.model else "auto",
        options={"max_batch": 8} if subject.name != "kokoro" else {},
        cache_dir=sides.share_compiled(folder / "cache"),
    )
    host = Host(SPECS[subject.name], settings, 300, "info")
    yield Bench(subject, host, voices)
    host.close()


def difference(one: bytes, other: bytes) -> int:
    """The largest difference of two recordings' samples; they must be of one length."""
    assert len(one) == len(other)
    first, second = array.array("h", one), array.array("h", other)
    return max((abs(a - b) for a, b in zip(first, second, strict=True)), default=0)


def test_it_says_what_it_is(bench):
    facts = bench.host.load()
    assert facts.sample_rate in (22_050, 24_000)
    assert 1 <= facts.plain_batch <= facts.max_batch
    assert bench.subject.name.split("-")[0] in facts.identity.lower()


def test_a_text_becomes_segments_with_words_and_sizes(bench):
    segments = bench.segments()
    assert all(segment.text and segment.size > 0 for segment in segments)
    assert bench.segments() == segments


def test_a_long_text_becomes_many_segments_of_bounded_size(bench):
    segments = bench.segments(TEXT * 20)
    assert len(segments) > 3
    assert max(segment.size for segment in segments) <= 200


@pytest.mark.parametrize("text", ["……！？", "🙂🙃"])
def test_a_text_without_words_is_refused_with_a_sentence(bench, text):
    if bench.subject.name == "tone":
        pytest.skip("a tone needs no words")
    with pytest.raises(SpeechFailed, match=r"\w+ \w+ \w+"):
        bench.host.split(text, {})


@pytest.mark.parametrize("batched", [False, True], ids=["plain", "batch"])
def test_the_same_request_sounds_the_same(bench, batched):
    segment = bench.segment()
    first = bench.heard(segment, batched=batched)
    assert len(first) > 1000
    assert len(first) % 2 == 0
    assert bench.heard(segment, batched=batched) == first


@pytest.mark.parametrize("batched", [False, True], ids=["plain", "batch"])
def test_another_seed_sounds_different_where_seeds_are_heard(bench, batched):
    segment = bench.segment()
    sounds = {bench.heard(segment, seed=seed, batched=batched) for seed in (1, 2)}
    assert len(sounds) == (2 if bench.subject.sows else 1)


@pytest.mark.parametrize("batched", [False, True], ids=["plain", "batch"])
def test_another_voice_sounds_different(bench, batched):
    segment = bench.segment()
    assert bench.heard(segment, "alice.wav", batched=batched) != bench.heard(segment, "bob.wav", batched=batched)


def test_a_replaced_recording_is_heard_anew(bench):
    segment = bench.segment()
    guest, heard = bench.voices / "guest.wav", []
    for voice in ("alice.wav", "bob.wav"):
        shutil.copy(bench.voices / voice, guest)
        os.utime(guest, ns=(1, 1))  # neither its path nor its time tells that it is another
        heard.append(bench.heard(segment, "guest.wav"))
    assert heard == [bench.heard(segment, voice) for voice in ("alice.wav", "bob.wav")]
    assert heard[0] != heard[1]


def test_company_is_not_heard(bench):
    first = bench.segment()
    alone = bench.heard(first, seed=5)
    words = [bench.segments(text)[0] for text in ("今天天气很好。", "HELLO WORLD.")]
    mates = [bench.utterance(segment, "bob.wav", seed) for seed, segment in enumerate(words)]
    for batch in ([bench.utterance(first, seed=5), *mates], [*mates, bench.utterance(first, seed=5)]):
        results = bench.speak(*batch)
        [mine] = [result for result, one in zip(results, batch, strict=True) if one.seed == 5]
        assert isinstance(mine, Audio)
        assert difference(mine.pcm, alone) <= bench.subject.slack


BAD = ["gone.wav", "a text.wav", "25 ms.wav", "ten minutes.wav", "silent.wav"]


def test_bad_recordings_fail_their_own_segments_only(bench):
    if not bench.subject.listens:
        pytest.skip("it hears no recordings")
    bad = [name for name in BAD if name != "ten minutes.wav" or bench.subject.name != "kokoro"]  # it hears 15 s
    segment = bench.segment()
    alone = bench.heard(segment)
    for name in bad:
        _write_bad(bench.voices / name)
    good, *faults = bench.speak(bench.utterance(segment), *[bench.utterance(segment, name) for name in bad])
    assert isinstance(good, Audio)
    assert difference(good.pcm, alone) <= bench.subject.slack
    for name, fault in zip(bad, faults, strict=True):
        assert isinstance(fault, SegmentError)
        assert name in fault.message
        assert bench.host.inspect(bench.voices / name).fault


def _write_bad(file: Path) -> None:
    if file.stem == "a text":
        file.write_text("not a recording")
    elif file.stem != "gone":
        seconds, rate = {"25 ms": (0.025, 22_050), "ten minutes": (600, 8_000), "silent": (3, 22_050)}[file.stem]
        if file.stem == "silent":
            soundfile.write(file, [0.0] * (seconds * rate), rate)
        else:
            common.write_voice(file, 200, seconds, rate)


@pytest.mark.parametrize("name", ["telephone.wav", "voice.mp3", "voice.flac", "voice.ogg"])
def test_recordings_of_other_kinds_are_voices_too(bench, name):
    file = bench.voices / name
    rate = 8_000 if name == "telephone.wav" else 22_050
    common.write_voice(file, 200, 3, rate)
    if name == "telephone.wav":  # stereo
        mono, _ = soundfile.read(file)
        soundfile.write(file, [[sample, sample / 2] for sample in mono], rate)
    assert len(bench.heard(bench.segment(), name)) > 1000
    verdict = bench.host.inspect(file)
    assert verdict.fault is None
    assert not bench.subject.listens or name != "telephone.wav" or "8000 Hz" in " ".join(verdict.advice)


def test_a_process_that_is_replaced_goes_on_the_same(bench):
    segment = bench.segment()
    facts, before = bench.host.load(), bench.heard(segment)
    pid = bench.host.pid
    bench.host.recycle()
    assert bench.host.load() == facts
    assert bench.host.pid != pid
    assert bench.heard(segment) == before
