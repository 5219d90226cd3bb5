"""Swahili for a language expert: short texts about everyday things, and requests for them.

Owns the words and how a text is put together. Knows nothing of sums, tokens or models. A text is
drawn from one topic's sentences, in any order, with an opening and a close.
"""

from __future__ import annotations

from random import Random
from typing import NamedTuple

PLACES = tuple("Mombasa Nairobi Arusha Mwanza Zanzibar Dodoma Kisumu Tanga Morogoro Lamu".split())
NAMES = tuple("Juma Asha Amina Baraka Neema Hamisi Zawadi Rehema Musa Fatuma Daudi Halima".split())
WHEN = (
    "Kila siku",
    "Siku ya Jumamosi",
    "Asubuhi na mapema",
    "Wakati wa jioni",
    "Mwishoni mwa wiki",
    "Wakati wa likizo",
)
OPEN = ("", "", "Ndiyo, nitaeleza. ", "Karibu sana. ", "Hili ni swali zuri. ", "Haya ni maelezo. ")
CLOSE = ("", "", " Asante sana.", " Natumaini maelezo haya yatakusaidia.", " Hayo ndiyo muhimu.")


class Topic(NamedTuple):
    """A topic by its English and Swahili names, and sentences; {a place}s are filled in."""

    en: str
    sw: str
    sentences: tuple[str, ...]


def _topic(names: str, text: str) -> Topic:
    en, sw = names.split("/")
    return Topic(en, sw, tuple(line.strip() for line in text.strip().splitlines()))


TOPICS = (
    _topic(
        "the market/soko",
        """{when} watu wengi huenda sokoni {place} kununua chakula.
        {name} huuza matunda na mboga kwa bei nafuu.
        Wauzaji huita wateja kwa sauti kubwa na kwa furaha.
        Ni muhimu kuuliza bei kabla ya kununua kitu chochote.
        Baada ya kununua, {name} hubeba vitu vyote kwenye kikapu kikubwa.""",
    ),
    _topic(
        "farming/kilimo",
        """Wakulima wa {place} hulima mahindi, maharagwe na mihogo.
        {when} {name} humwagilia mimea maji ili ikue vizuri.
        Mvua ikinyesha kwa wakati, mavuno huwa mengi.
        Udongo mzuri na mbolea husaidia mimea kupata nguvu.
        Baada ya mavuno, wakulima huhifadhi nafaka ghalani.""",
    ),
    _topic(
        "school/shule",
        """{name} husoma katika shule kubwa iliyo karibu na {place}.
        Walimu hufundisha kusoma, kuandika na lugha mbalimbali.
        {when} wanafunzi hufanya mazoezi pamoja darasani.
        Mwanafunzi mwenye bidii hupata matokeo mazuri.
        Elimu ni ufunguo wa maisha na huwasaidia watu wote.""",
    ),
    _topic(
        "rain and weather/hali ya hewa",
        """Msimu wa mvua huko {place} huanza mwezi wa Machi.
        {when} mawingu meusi hufunika anga na upepo huvuma kwa nguvu.
        Mvua nyingi huleta mafuriko katika maeneo ya chini.
        Jua likiwaka sana, {name} huvaa kofia na kunywa maji mengi.
        Hali ya hewa hubadilika haraka karibu na milima.""",
    ),
    _topic(
        "family/familia",
        """{name} anaishi {place} pamoja na wazazi na ndugu zake.
        {when} familia hukaa pamoja na kuzungumza kuhusu mambo mengi.
        Bibi huwasimulia watoto hadithi za zamani.
        Watoto huwasaidia wazazi wao kazi za nyumbani.
        Upendo na heshima huifanya familia kuwa imara.""",
    ),
    _topic(
        "cooking/mapishi",
        """Kwanza osha mchele vizuri kwa maji safi.
        {name} hupenda kupika pilau na samaki wa kukaanga.
        Ongeza vitunguu, nyanya na chumvi kidogo kwenye sufuria.
        {when} jikoni hujaa harufu nzuri ya viungo vya {place}.
        Acha chakula kiive polepole kabla ya kukipakua mezani.""",
    ),
    _topic(
        "health/afya",
        """Ni vizuri kula matunda na mboga kila siku ili kuwa na afya njema.
        {when} {name} hufanya mazoezi ya mwili kwa muda mfupi.
        Daktari wa {place} huwashauri watu kunawa mikono kwa sabuni.
        Kulala vizuri usiku husaidia mwili kupata nguvu mpya.
        Ukijisikia mgonjwa, nenda hospitali mapema.""",
    ),
    _topic(
        "travelling/safari",
        """Safari kutoka {place} huchukua saa nyingi kwa basi.
        {name} hupenda kusafiri kwa treni kwa sababu ni salama.
        {when} barabara huwa na magari mengi sana.
        Kabla ya kusafiri, hakikisha umebeba tiketi na maji ya kunywa.
        Wasafiri huona milima, mito na misitu mizuri njiani.""",
    ),
    _topic(
        "the sea/bahari",
        """Bahari ya {place} ina maji ya buluu na mchanga mweupe.
        {when} wavuvi huenda baharini kwa mashua zao ndogo.
        {name} hupenda kuogelea karibu na ufuo na marafiki zake.
        Samaki wa rangi nyingi huishi kati ya matumbawe.
        Mawimbi makubwa yanaweza kuwa hatari kwa mashua ndogo.""",
    ),
    _topic(
        "music/muziki",
        """Muziki wa taarabu unapendwa sana na watu wa {place}.
        {name} hupiga ngoma na gitaa kwa ustadi mkubwa.
        {when} vijana hukusanyika kuimba na kucheza pamoja.
        Nyimbo nzuri hufundisha watu maadili na historia yao.
        Muziki huleta furaha na kuondoa huzuni moyoni.""",
    ),
    _topic(
        "wild animals/wanyama wa porini",
        """Simba na tembo huishi katika mbuga kubwa karibu na {place}.
        {when} wanyama hukusanyika karibu na mto kunywa maji.
        {name} ni mlinzi wa mbuga na huwatunza wanyama wote.
        Twiga hula majani ya miti mirefu.
        Ni lazima tulinde misitu ili wanyama wapate mahali pa kuishi.""",
    ),
    _topic(
        "football/mpira wa miguu",
        """Timu ya {place} ilicheza vizuri na kushinda mchezo wa jana.
        {when} vijana hufanya mazoezi uwanjani na kocha wao.
        {name} ni mchezaji hodari anayependwa na mashabiki.
        Mashabiki huimba na kupiga makofi wakati wa mchezo.
        Kucheza kwa ushirikiano ni muhimu kuliko kushinda peke yako.""",
    ),
    _topic(
        "computers/kompyuta",
        """Kompyuta huwasaidia watu kuandika, kuhesabu na kutafuta habari.
        {name} alijifunza kutumia kompyuta katika chuo cha {place}.
        {when} wanafunzi hutumia mtandao kusoma masomo mapya.
        Programu nzuri hufanya kazi haraka na ni rahisi kutumia.
        Usimpe mtu yeyote neno lako la siri.""",
    ),
    _topic(
        "a job interview/mahojiano ya kazi",
        """Kabla ya mahojiano, soma kuhusu kampuni na kazi yenyewe.
        {name} alivaa nguo safi na kufika mapema ofisini {place}.
        Jibu maswali kwa utulivu na kwa maneno mafupi.
        Eleza ujuzi wako na kazi ulizofanya zamani.
        {when} unaweza kufanya mazoezi na rafiki yako nyumbani.""",
    ),
    _topic(
        "small business/biashara ndogo",
        """{name} alianzisha biashara ndogo ya nguo huko {place}.
        Mfanyabiashara mzuri huwasikiliza wateja wake kwa makini.
        {when} duka hufunguliwa mapema na kufungwa usiku.
        Ni muhimu kuandika mapato na matumizi ya kila mwezi.
        Huduma nzuri huwafanya wateja warudi tena na tena.""",
    ),
)

REQUESTS = (
    "Write about {topic}. {cue}",
    "{cue} Tell me about {topic}.",
    "Explain something important about {topic}. {cue}",
    "{cue} What should I know about {topic}?",
    "Give me advice on {topic}. {cue}",
    "Write a short text on {topic} in Swahili.",
    "In Swahili, describe {topic}.",
)
CUES = ("Reply in Swahili.", "Respond in Swahili.", "Write in Swahili.", "Answer in Swahili.")
MAOMBI = ("Andika kuhusu {topic}.", "Nieleze kuhusu {topic}.", "Je, unajua nini kuhusu {topic}?")


def text(rng: Random, topic: Topic) -> str:
    """Two to four sentences on a topic."""
    chosen = rng.sample(topic.sentences, rng.randint(2, 4))
    words = {"place": rng.choice(PLACES), "name": rng.choice(NAMES), "when": rng.choice(WHEN)}
    body = " ".join(sentence.format(**words) for sentence in chosen)
    return rng.choice(OPEN) + body + rng.choice(CLOSE)


def request(rng: Random, topic: Topic) -> str:
    """An English request for a Swahili answer, in the ways of the Language Confusion Benchmark."""
    return rng.choice(REQUESTS).format(topic=topic.en, cue=rng.choice(CUES))


def ombi(rng: Random, topic: Topic) -> str:
    """The request in Swahili itself."""
    return rng.choice(MAOMBI).format(topic=topic.sw)
