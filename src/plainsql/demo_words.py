"""The words the demo database is made of: cities, people, makers, instruments."""

from __future__ import annotations

from datetime import date

# City, country, inhabitants (rounded).
CITIES = (
    ("Leipzig", "Germany", 616_000),
    ("Lyon", "France", 522_000),
    ("Porto", "Portugal", 232_000),
    ("Kraków", "Poland", 804_000),
    ("Galway", "Ireland", 86_000),
    ("Hamburg", "Germany", 1_910_000),
    ("Dresden", "Germany", 563_000),
    ("Nantes", "France", 323_000),
    ("Marseille", "France", 873_000),
    ("Lisbon", "Portugal", 546_000),
    ("Gdańsk", "Poland", 487_000),
    ("Dublin", "Ireland", 593_000),
    ("Seville", "Spain", 681_000),
    ("Bilbao", "Spain", 346_000),
    ("Cremona", "Italy", 71_000),
    ("Turin", "Italy", 848_000),
    ("Gothenburg", "Sweden", 604_000),
    ("Bursa", "Turkey", 3_214_000),
    ("Recife", "Brazil", 1_488_000),
    ("Kyoto", "Japan", 1_440_000),
    ("Pune", "India", 4_300_000),
    ("Nairobi", "Kenya", 4_750_000),
)
SHOP_OPENINGS = (
    (date(1998, 4, 18), 420),
    (date(2006, 9, 2), 310),
    (date(2011, 5, 14), 180),
    (date(2016, 10, 8), 260),
    (date(2021, 3, 20), 140),
)

# First names, then family names, by country.
PEOPLE = {
    "Germany": (
        "Anke Jonas Greta Malte Frieda Henrik Silke Tobias Wiebke Lukas",
        "Behrens Kühn Lorenz Petersen Sommer Ziegler Hoffmann Albrecht",
    ),
    "France": (
        "Camille Hugo Élise Mathieu Inès Antoine Margaux Rémi Chloé Bastien",
        "Moreau Lefèvre Garnier Chevalier Fontaine Perrin Barbier Renaud",
    ),
    "Portugal": (
        "Beatriz Tiago Inês Duarte Mafalda Rui Leonor Gonçalo",
        "Carvalho Moura Teixeira Pinheiro Antunes Faria Lopes Vieira",
    ),
    "Poland": (
        "Zofia Jakub Hanna Kacper Maja Wojciech Oliwia Szymon",
        "Zieliński Wrona Mazur Pawlak Dudek Sikora Baran Krawiec",
    ),
    "Ireland": (
        "Aoife Cian Niamh Oisín Saoirse Darragh Róisín Fionn",
        "Gallagher Byrne Kavanagh Flynn Nolan Brennan Tierney Quinlan",
    ),
    "Spain": (
        "Lucía Álvaro Carmen Iker Nerea Pablo Rocío Sergio",
        "Navarro Ibarra Molina Ortega Vidal Etxeberria Serrano Campos",
    ),
    "Italy": (
        "Giulia Matteo Chiara Lorenzo Elena Davide Marta Pietro",
        "Rinaldi Ferri Bianchi Galli Moretti Ferrero Conti Sala",
    ),
    "Sweden": (
        "Elsa Nils Astrid Oskar Linnea Gustav",
        "Lindqvist Ekström Bergman Nyström Sandberg Holm",
    ),
    "Turkey": ("Elif Emre Zeynep Kerem Defne Barış", "Yıldız Aydın Şahin Koç Arslan Demir"),
    "Brazil": ("Larissa Caio Júlia Rafael Bianca Thiago", "Araújo Barros Cardoso Nogueira Rocha"),
    "Japan": ("Yui Haruto Sakura Ren Aoi Kaito", "Tanaka Mori Hayashi Okada Fujita Nakamura"),
    "India": ("Ananya Rohan Meera Arjun Kavya Nikhil", "Deshpande Kulkarni Joshi Patil Rao"),
    "Kenya": (
        "Wanjiru Otieno Achieng Kamau Njeri Kiprono",
        "Mwangi Odhiambo Kariuki Wambui Cheruiyot",
    ),
}

# Name, country, year, and what they build.
MAKERS = (
    ("Hellwig Gitarrenbau", "Germany", 1924, "Classical Guitar,Steel-String Guitar,Bass Guitar"),
    ("Guitarras Almenara", "Spain", 1951, "Classical Guitar,Ukulele"),
    (
        "Redwing Guitars",
        "Canada",
        1979,
        "Electric Guitar,Bass Guitar,Steel-String Guitar,Guitar Strings",
    ),
    ("Liuteria Bassani", "Italy", 1888, "Violin,Viola,Cello"),
    ("Pracownia Skrzypce Wilk", "Poland", 1963, "Student Violin,Violin,Rosin,Violin Case"),
    ("Atelier Brochard", "France", 1907, "Viola,Cello,Violin Bow"),
    ("Steinbach & Söhne", "Germany", 1869, "Baby Grand Piano,Upright Piano"),
    ("Kisaragi", "Japan", 1932, "Upright Piano,Digital Piano,Concert Flute,Metronome"),
    ("Nordlys Keys", "Norway", 1994, "Stage Piano,Digital Piano,Piano Bench"),
    ("Tamborim do Norte", "Brazil", 1986, "Cajón,Djembe,Tambourine"),
    ("Thunderbarn Drums", "United States", 1971, "Drum Kit,Snare Drum,Drumsticks"),
    ("Çınar Zil", "Turkey", 1955, "Cymbal Set,Tambourine"),
    ("Blechwerk Vogtland", "Germany", 1911, "Trumpet,Flugelhorn,French Horn"),
    ("Harrow & Finch", "United Kingdom", 1898, "Trombone,Trumpet,Piccolo,Music Stand"),
    ("Celtic Reed Company", "Ireland", 1983, "Tin Whistle,Alto Recorder"),
)

# Category, lowest and highest price in euros, highest stock.
KINDS = {
    "Classical Guitar": ("guitar", 180, 1900, 15),
    "Steel-String Guitar": ("guitar", 210, 2200, 15),
    "Electric Guitar": ("guitar", 290, 2400, 18),
    "Bass Guitar": ("guitar", 320, 1800, 12),
    "Ukulele": ("guitar", 39, 240, 30),
    "Violin": ("violin", 900, 4200, 6),
    "Viola": ("violin", 950, 3900, 5),
    "Cello": ("violin", 1900, 6800, 4),
    "Student Violin": ("violin", 190, 480, 14),
    "Baby Grand Piano": ("piano", 9800, 16500, 2),
    "Upright Piano": ("piano", 3900, 8900, 4),
    "Digital Piano": ("piano", 590, 2400, 10),
    "Stage Piano": ("piano", 690, 2600, 9),
    "Drum Kit": ("drum", 540, 2300, 6),
    "Snare Drum": ("drum", 140, 490, 12),
    "Cajón": ("drum", 75, 290, 20),
    "Djembe": ("drum", 85, 340, 16),
    "Tambourine": ("drum", 15, 49, 40),
    "Cymbal Set": ("drum", 190, 780, 10),
    "Concert Flute": ("flute", 420, 1900, 8),
    "Piccolo": ("flute", 380, 1300, 6),
    "Alto Recorder": ("flute", 35, 220, 25),
    "Tin Whistle": ("flute", 9, 45, 60),
    "Trumpet": ("brass", 340, 2300, 9),
    "Flugelhorn": ("brass", 590, 2500, 5),
    "Trombone": ("brass", 480, 2400, 6),
    "French Horn": ("brass", 1400, 4300, 4),
    "Guitar Strings": ("accessory", 6, 24, 200),
    "Rosin": ("accessory", 5, 19, 120),
    "Violin Case": ("accessory", 59, 210, 20),
    "Violin Bow": ("accessory", 49, 380, 25),
    "Metronome": ("accessory", 24, 79, 40),
    "Piano Bench": ("accessory", 69, 260, 15),
    "Drumsticks": ("accessory", 7, 18, 180),
    "Music Stand": ("accessory", 19, 75, 60),
}
MODELS = "Allegro Aria Canto Forte Largo Nova Opus Presto Serenata Sonata Tempo Vivace"
