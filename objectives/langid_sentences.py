"""A plain sentence in each language of the table, which any identification model has to know.

Owns the sentences alone; what is asked of a model with them is `objectives.langid`'s.
"""

SENTENCES = {
    "ar": "في الصباح الباكر ذهب الأطفال إلى المدرسة القريبة من البيت وتعلموا القراءة والكتابة",
    "bn": "আজ সকালে শিশুরা বাড়ির কাছের স্কুলে গিয়ে পড়তে ও লিখতে শিখেছে",
    "de": "Am Morgen gingen die Kinder in die Schule neben dem Haus und lernten lesen",
    "en": "In the morning the children went to the school near the house and learned to read",
    "es": "Por la mañana los niños fueron a la escuela cerca de la casa y aprendieron a leer",
    "fr": "Le matin, les enfants sont allés à l'école près de la maison et ont appris à lire",
    "hi": "सुबह सुबह बच्चे घर के पास वाले स्कूल गए और उन्होंने पढ़ना और लिखना सीखा",
    "id": "Pagi hari anak-anak pergi ke sekolah di dekat rumah dan mereka belajar membaca",
    "it": "La mattina i bambini sono andati a scuola vicino alla casa e hanno imparato a leggere",
    "ja": "朝早く、子どもたちは家の近くの学校へ行って、読み書きを習いました",
    "ko": "이른 아침에 아이들은 집 근처에 있는 학교에 가서 읽고 쓰는 법을 배웠습니다",
    "pt": "De manhã cedo as crianças foram à escola perto da casa e aprenderam a ler e a escrever",
    "ru": "Рано утром дети пошли в школу возле дома и научились читать и писать",
    "sw": "Leo ni siku nzuri kwa sababu watu wengi wamekuja katika mji wetu kwa ajili ya sherehe",
    "te": "ఉదయాన్నే పిల్లలు ఇంటి దగ్గర ఉన్న పాఠశాలకు వెళ్లి చదవడం, రాయడం నేర్చుకున్నారు",
    "th": "ตอนเช้าตรู่เด็กๆ ไปโรงเรียนใกล้บ้านและได้เรียนรู้การอ่านและการเขียน",
    "tr": "Sabah erkenden çocuklar evin yakınındaki okula gittiler ve okumayı öğrendiler",
    "vi": "Sáng sớm, các em nhỏ đến trường gần nhà và học cách đọc và viết",
    "zh": "清晨，孩子们去了家附近的学校，学会了读书和写字",
}
"""Code -> the sentence: of children who learn to read; for Swahili, which lid.176.ftz knows badly,
of a fine day."""
