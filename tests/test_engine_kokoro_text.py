"""The embedded engine's text side, with its real dictionaries: what it reads, and how it cuts."""

from __future__ import annotations

import json
import random
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daemon.engines.base import Segment
from daemon.engines.kokoro.model import MAX_TOKENS
from daemon.engines.kokoro.phonemes import SILENT, Phonemizer, vocabulary
from daemon.engines.kokoro.split import MOST_TOKENS, split_text
from daemon.errors import SpeechFailed


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Phonemizer:
    return Phonemizer(tmp_path_factory.mktemp("reader"))


# --- what it reads -------------------------------------------------------------------------------------------------

CHINESE = [
    ("今天是2024年3月15日。", "今天是二零二四年三月十五日"),
    ("在2024-03-15、2024/3/15、1949.10.1", "在二零二四年三月十五日，二零二四年三月十五日，一九四九年十月一日"),
    ("3月5日至7日，2020-2024年", "三月五日至七日，二零二零到二零二四年"),
    ("下午3:05开会，14:05结束，8:30-9:30", "下午三点零五分开会，十四点零五分结束，八点三十分到九点三十分"),
    ("气温-5℃，-20也冷，±5℃", "气温负五摄氏度，负二十也冷，正负五摄氏度"),
    ("降水概率30%，2-3%，50%~60%", "降水概率百分之三十，百分之二到百分之三，百分之五十到百分之六十"),
    ("电话13812345678", "电话幺三八幺二三四五六七八"),
    ("拨打400-800-1234或010-12345678", "拨打四零零,八零零,幺二三四或零幺零,幺二三四五六七八"),
    ("+86 138 1234 5678是手机", "加八六,幺三八,幺二三四,五六七八是手机"),
    ("价格是￥12.50，约$3.99，US$5，100¥", "价格是十二点五零元，约三点九九美元，五美元，一百元"),
    ("５０％的人在１２：３０吃饭", "百分之五十的人在十二点三十分吃饭"),
    ("比分3:2，3-5天，10~20人", "比分三比二，三到五天，十到二十人"),
    ("高1.75m，重70kg，跑了5 km，80km/h", "高一点七五米，重七十千克，跑了五公里，每小时八十公里"),
    ("面积100m²，30㎡，2 m³", "面积一百平方米，三十平方米，两立方米"),
    ("共1,234,567人，0.5，3.5亿，20,000字", "共一百二十三万四千五百六十七人，零点五，三点五亿，两万字"),
    ("2个人、2.5个、第2章、第3名", "两个人，二点五个，第二章，第三名"),
    ("1/2杯，3½小时", "二分之一杯，三又二分之一小时"),
    ("版本v2.0.1，IP是192.168.1.1", "版本v二点零点一，IP是一九二点一六八点一点一"),
    ("臺灣的發展與變化，憂鬱的烏龜", "台湾的发展与变化，忧郁的乌龟"),
    ("iPhone 15发布了，5G网络，24小时", "iPhone十五发布了，五G网络，二十四小时"),
    ("他说：“I have 3 cats and 2 dogs.”走了", "他说:“I have 3 cats and 2 dogs.”走了"),
    ("写信到bob@example.com", "写信到bob at example dot com"),
    ("列奥纳多·达·芬奇（1452年－1519年）", "列奥纳多达芬奇(一四五二年到一五一九年)"),
    ("《红楼梦》「你好」【注意】……", "“红楼梦”“你好”(注意)…"),
    ("二〇二四年", "二零二四年"),
    ("Привет 你好 こんにちは 안녕 😀🎉", "你好"),
    ("零\u200b宽\ufeff字符\u0301", "零宽字符"),
]


@pytest.mark.parametrize(("written", "read"), CHINESE)
def test_chinese_is_read_as_people_say_it(reader: Phonemizer, written: str, read: str) -> None:
    def bare(text: str) -> str:
        return re.sub(r"[\s.]", "", text)

    assert bare(reader.reading(written)) == bare(read)


ENGLISH = [
    ("Dr. Smith met Mr. Jones.", "Doctor Smith met Mister Jones."),
    ("at 3:30 pm on March 3rd, 2024", "at three thirty p.m. on March third, twenty twenty four"),
    ("at 14:05, at 10:00, at 9 a.m., at 12:00 am", "at fourteen o five, at ten o'clock, at nine a.m., at twelve a.m."),
    ("born in 1984, died in 2005", "born in nineteen eighty four, died in two thousand five"),
    ("on 2024-03-15", "on the fifteenth of march twenty twenty four"),
    ("since Jan. 5, 1999", "since January five, nineteen ninety nine"),
    ("in the 1990s, in the 21st century", "in the nineteen nineties, in the twenty first century"),
    ("it grew 2.5% to 0.75", "it grew two point five percent to zero point seven five"),
    ("it was -5°C", "it was minus five degrees celsius"),
    ("20 km/h, 3 kg, 10 lbs, 60 mph", "twenty kilometers per hour, three kilograms, ten pounds, sixty miles per hour"),
    ("100MB at 5 GHz, 10 m long", "one hundred megabytes at five gigahertz, ten meters long"),
    ("1/2 cup, 3 1/2 cups, 2½ cups", "one half cup, three and a half cups, two and a half cups"),
    ("pages 10-20, 3–5 days", "pages ten to twenty, three to five days"),
    ("$12.50, $1, £20, €0.99", "twelve dollars and fifty cents, one dollar, twenty pounds, ninety nine cents"),
    ("$5, 100 people", "five dollars, one hundred people"),
    ("$1.5 billion", "one point five billion dollars"),
    ("1,234 of 1,000,000", "one thousand two hundred thirty four of one million"),
    ("call 555-123-4567", "call five five five, one two three, four five six seven"),
    ("+1 212 555 0187", "plus one, two one two, five five five, zero one eight seven"),
    ("No. 5, #1, version 2.0.1", "number five, number one, version two point zero point one"),
    ("cats, e.g. lions, i.e. big ones", "cats, for example, lions, that is, big ones"),
    ("Chapter IV of World War II", "chapter four of world war two"),
    ("St. John lives on 5th St. now", "Saint John lives on fifth Street now"),
    ("a score of 3:2", "a score of three to two"),
    ("5+3=8, 7×8", "five plus three equals eight, seven times eight"),
    ("the U.S. and the U.K.", "the U S and the U K"),
    ("２０ ｃａｔｓ & 3 dogs", "twenty cats and three dogs"),
    ("café in Zürich", "cafe in Zurich"),
    ("see https://example.com/a", "see example dot com slash a"),
    ("Привет hello 😀 мир", "hello"),
]


@pytest.mark.parametrize(("written", "read"), ENGLISH)
def test_english_sounds_like_its_words_written_out(reader: Phonemizer, written: str, read: str) -> None:
    def bare(text: str) -> str:
        return re.sub(r"[\sˈˌ.]", "", reader.phonemes(text)).replace("ɐ", "ə")

    assert bare(written) == bare(read)


def test_scripts_it_cannot_read_are_skipped_and_not_guessed(reader: Phonemizer) -> None:
    assert reader.tokens("你好 мир") == reader.tokens("你好")


# --- how it cuts ---------------------------------------------------------------------------------------------------


def segments_of(reader: Phonemizer, text: str) -> list[Segment]:
    return split_text(text, reader.tokens)


def assert_segments_are_sound(segments: list[Segment]) -> None:
    ids = set(vocabulary().values())
    silent = {vocabulary()[symbol] for symbol in SILENT}
    for segment in segments:
        assert isinstance(segment.payload, list)
        assert 1 <= len(segment.payload) <= MAX_TOKENS
        assert set(segment.payload) <= ids
        assert set(segment.payload) - silent
        assert segment.text
        assert 0 < segment.pause < 1
        assert json.loads(json.dumps(segment.payload)) == segment.payload


ANY_TEXT = st.text(max_size=300) | st.text(
    alphabet=st.sampled_from("0123456789.,:/-+%$¥°℃年月日点第个 abcKmkg\"'()你好，。？\n@#_=½²"), max_size=120
)


@given(text=ANY_TEXT)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_is_split_or_refused_with_a_sentence(reader: Phonemizer, text: str) -> None:
    try:
        segments = segments_of(reader, text)
    except SpeechFailed as error:
        assert "nothing in the text that can be spoken" in str(error)
    else:
        assert segments
        assert_segments_are_sound(segments)


@pytest.mark.parametrize(
    "text",
    [
        "山" * 5000,
        "一二三四五六七八九十" * 500,
        "a" * 3000,
        "word " * 2000,
        "1" * 2000,
        "1,2,3," * 500,
        "(" * 3000 + "好",
        "e\u0301" * 2000,
        "Mr. " * 500,
    ],
    ids=lambda text: repr(text[:6]),
)
def test_a_text_without_a_full_stop_is_cut_below_the_limit(reader: Phonemizer, text: str) -> None:
    segments = segments_of(reader, text)
    assert_segments_are_sound(segments)
    assert max(len(segment.payload) for segment in segments) <= MOST_TOKENS


SENTENCE = "清晨的阳光照进了小镇的广场，卖早点的老人已经支起了炉子，行人慢慢多了起来。"


def test_segments_hold_whole_sentences_of_about_the_same_length(reader: Phonemizer) -> None:
    segments = segments_of(reader, SENTENCE * 20)
    assert all(segment.text.endswith("。") for segment in segments)
    sizes = [len(segment.payload) for segment in segments]
    assert min(sizes) >= 100
    assert max(sizes) <= MOST_TOKENS
    assert "".join(segment.text for segment in segments) == SENTENCE * 20


def test_pauses_are_longer_after_a_paragraph_than_after_a_sentence_than_inside_one(reader: Phonemizer) -> None:
    sentences, clauses = SENTENCE * 8, SENTENCE.rstrip("。") * 8
    pauses = [segment.pause for segment in segments_of(reader, f"{sentences}\n{clauses}，{sentences}")]
    assert sorted(set(pauses)) == [0.15, 0.3, 0.6]


def test_a_line_wrapped_for_its_width_goes_on_in_the_next(reader: Phonemizer) -> None:
    wrapped = "The old man walked slowly along the river bank\nand thought about the summer of that year."
    assert len(segments_of(reader, wrapped)) == 1
    assert len(segments_of(reader, "第一章\n他走了。")) == 2


def test_abbreviations_do_not_end_a_sentence(reader: Phonemizer) -> None:
    text = "Mr. and Mrs. Brown went to see Dr. J. Harris at No. 5 on the hill in the afternoon of the same day. " * 6
    assert all(segment.text.endswith("day.") for segment in segments_of(reader, text))


@pytest.mark.parametrize(
    "text", ["", " \n\t", "😀🎉", "。。。！", "...", "Привет, мир!", "こんにちは", "\x00\u200b", "——（）“”"]
)
def test_a_text_of_which_nothing_remains_fails_with_a_sentence(reader: Phonemizer, text: str) -> None:
    with pytest.raises(SpeechFailed, match=r"There is nothing in the text that can be spoken: .*\.$"):
        segments_of(reader, text)


def test_a_long_chapter_is_split_in_order_without_loss(reader: Phonemizer) -> None:
    chance = random.Random(7)
    sentences = [
        "他回头看了一眼，什么也没说。",
        "雨停了。",
        "“你真的要走吗？”她问。",
        "窗外的灯一盏接一盏地亮了起来，街上很安静。",
    ]
    text = "".join(chance.choice(sentences) + chance.choice(["", "", "\n"]) for _ in range(300))
    segments = segments_of(reader, text)
    assert "".join(segment.text for segment in segments) == text.replace("\n", "")
