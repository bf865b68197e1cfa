"""What is spoken to the judge, and what a listener may write down for it.

Nothing here repeats the judge's initial prompt: Whisper echoes that on noise.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sentence:
    """One text for the judge.

    Attributes:
        name: unique; the file's stem.
        language: `zh`, `en`, or `mixed`, of which only the Chinese is judged.
        text: what is spoken.
        heard: writings of the same words; the nearest one counts. The text itself when empty.
        prompt: file name of the shipped prompt that picks the voice.
    """

    name: str
    language: str
    text: str
    heard: tuple[str, ...] = ()
    prompt: str = "female_zh.wav"

    @property
    def references(self) -> tuple[str, ...]:
        """The writings to compare with."""
        return self.heard or (self.text,)


def _chinese(name: str, text: str, *heard: str, prompt: str = "female_zh.wav") -> Sentence:
    return Sentence(f"zh-{name}", "zh", text, heard, prompt)


def _english(name: str, text: str, *heard: str, prompt: str = "female_en.wav") -> Sentence:
    return Sentence(f"en-{name}", "en", text, heard, prompt)


CHINESE = [
    _chinese("market", "清晨的阳光照进了小镇的广场，卖早点的老人已经支起了炉子。"),
    _chinese("date", "会议定在2024年3月15日下午3点半，请大家准时参加。"),
    _chinese("weather", "明天最低气温-5℃，降水概率30%，出门记得带伞。"),
    _chinese("price", "这本书原价128元，打折以后只要89.5元。"),
    _chinese("phone", "如果有问题，请拨打电话13812345678联系我们。", prompt="male_zh.wav"),
    _chinese("distance", "从这里到火车站大约3.5公里，走路需要40分钟。", prompt="male_zh.wav"),
    _chinese(
        "traditional", "圖書館裡有很多歷史書，學生們常常在這裡讀書。", "图书馆里有很多历史书，学生们常常在这里读书。"
    ),
    _chinese("dialogue", "“你真的要走吗？”她轻声问道，“外面还在下雨呢。”"),
    _chinese("history", "这座城墙建于1368年，周长大约12公里，高10米左右。", prompt="male_zh.wav"),
    _chinese("science", "科学家发现，植物在夜间也会对声音产生微弱的反应。"),
    _chinese("fraction", "班里有1/3的同学喜欢踢足球，第2受欢迎的运动是游泳。"),
    _chinese("news", "今年前3个月，全市新开了200家饭店，就业人数增长了2.5%。", prompt="male_zh.wav"),
]

ENGLISH = [
    _english("train", "The morning train left the station at half past seven."),
    _english("doctor", "Dr. Harris will see you on March 3rd, 2024, at 3:30 pm.",
             "doctor harris will see you on march 3rd 2024 at 3 30 pm",
             "dr harris will see you on march 3 2024 at 3 30 pm"),
    _english("price", "The ticket costs $12.50, but children under 5 travel free.",
             "the ticket costs 12 dollars and 50 cents but children under five travel free",
             "the ticket costs 12 50 but children under 5 travel free"),
    _english("weather", "Tomorrow it will be 25°C with a 30% chance of rain.",
             "tomorrow it will be 25 degrees celsius with a 30 percent chance of rain"),
    _english("library", "She returned three books to the library and borrowed another one about gardening."),
    _english("phone", "Please call 555-0199 before nine o'clock.",
             "please call 555 0199 before nine o'clock", "please call 5550199 before 9 o'clock"),
    _english("river", "He walked slowly along the river and thought about the summer of 1984.", prompt="male_zh.wav"),
    _english("distance", "The village lies 20 km north of the city, beyond the old forest.",
             "the village lies 20 kilometers north of the city beyond the old forest"),
    _english("question", "Have you ever wondered why the sky turns red in the evening?"),
    _english("range", "Read pages 10-20, then answer the first question.",
             "read pages 10 to 20 then answer the first question",
             "read pages 10 20 then answer the first question"),
    _english("abbreviation", "Bring something warm, e.g. a coat, because the nights are cold.",
             "bring something warm for example a coat because the nights are cold"),
    _english("fraction", "Mix 1/2 cup of sugar with two cups of flour and a little salt.",
             "mix one half cup of sugar with two cups of flour and a little salt",
             "mix 1 2 cup of sugar with 2 cups of flour and a little salt"),
]  # fmt: skip

MIXED = [
    Sentence("mixed-phone", "mixed", "他昨天买了一台新的 iPhone，今天早上就弄丢了。"),
    Sentence("mixed-corner", "mixed", "学校有一个 English corner，每个星期五下午4点开放。"),
    Sentence("mixed-city", "mixed", "去年夏天我和朋友一起去了 New York，在那里住了两个星期。"),
]

ALL = CHINESE + ENGLISH + MIXED
