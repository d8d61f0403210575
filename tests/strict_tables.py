"""Tables that strict engines read in other ways than SQLite, and queries over them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

# What other engines are strict about: types, cases, groups, ties, names.
STRICT = r"""
CREATE TABLE Runner (
    RunnerID INTEGER PRIMARY KEY, "Name" TEXT, team_id INTEGER REFERENCES "Team" ("Id"),
    born DATE, Joined TIMESTAMP, "bornText" TEXT, score TEXT, "isPro" BOOLEAN, "Flag" BOOL,
    speed REAL, laps INTEGER, "order" INTEGER, zip INTEGER
);
CREATE TABLE "Team" ("Id" INTEGER PRIMARY KEY, "select" TEXT, city TEXT, code TEXT);
CREATE TABLE Race (
    "Year" INTEGER, place INTEGER, RunnerID INTEGER REFERENCES Runner (RunnerID),
    PRIMARY KEY ("Year", place)
);
INSERT INTO "Team" VALUES (1, 'Red', 'Lyon', '1'), (2, 'Blue', 'lyon', '2'), (3, 'Gold', NULL, 'x');
INSERT INTO Runner VALUES
    (1, 'Ann', 1, '1990-03-01', '2020-01-02 03:04:05', '1990-03-01', '10', 1, 'T', 3.5, 7, 2, 101),
    (2, 'ann b', 1, '1985-12-24', '2020-06-30 00:00:00', 'unknown', '9', 0, 'F', NULL, 2, 1, NULL),
    (3, 'C\d', 2, NULL, NULL, NULL, 'n/a', 1, 'T', 2.25, 0, 3, 102),
    (4, 'D''e', 2, '2001-05-06', '2021-01-01 12:00:00', '2001-05-06', NULL, NULL, NULL, 3.5, 7, 4,
     7),
    (5, '100%', NULL, '2001-05-07', NULL, '2001-05-07', '11', 0, 'F', 9.0, 5, 5, 101);
INSERT INTO Race VALUES (2001, 1, 1), (2001, 2, 2), (2002, 1, 1), (2002, 2, 4), (2003, 1, 4);
"""
STRICT_CASES = [
    # names
    "SELECT Name FROM Runner WHERE RunnerID = 1",
    'SELECT "order", "select" FROM Runner JOIN Team ON Runner.team_id = Team.Id',
    "SELECT a.Name, b.Name FROM Runner a JOIN Runner b ON a.laps = b.laps",
    # texts
    "SELECT Name FROM Runner WHERE Name = 'Ann'",
    "SELECT Name FROM Runner WHERE Name LIKE 'ANN%'",
    "SELECT Name FROM Runner WHERE Name NOT LIKE '%NN%'",
    r"SELECT Name FROM Runner WHERE Name = 'C\d'",
    r"SELECT Name FROM Runner WHERE Name LIKE '%\d'",
    "SELECT Name FROM Runner WHERE Name = 'D''e' OR Name LIKE '%0%%'",
    "SELECT Name FROM Runner ORDER BY Name",
    # a literal of another type than its column
    "SELECT Name FROM Runner WHERE laps = '7'",
    "SELECT Name FROM Runner WHERE laps = 'seven'",
    "SELECT Name FROM Runner WHERE laps != 'seven'",
    "SELECT Name FROM Runner WHERE laps IN ('2', '5')",
    "SELECT Name FROM Runner WHERE laps BETWEEN '2' AND '6'",
    "SELECT Name FROM Runner WHERE score = 10",
    "SELECT Name FROM Runner WHERE score IN (9, 11)",
    "SELECT Name FROM Runner WHERE laps LIKE '7%'",
    "SELECT Name FROM Runner WHERE speed > '3'",
    "SELECT Name FROM Runner WHERE born = '1985-12-24'",
    "SELECT Name FROM Runner WHERE born > '2000-12-31'",
    "SELECT Name FROM Runner WHERE born LIKE '%-05-%'",
    "SELECT Name FROM Runner WHERE born = 'yesterday'",
    "SELECT Name FROM Runner WHERE born BETWEEN '1985-01-01' AND '2001-05-06'",
    "SELECT Name FROM Runner WHERE Joined > '2020-02-01'",
    "SELECT Name FROM Runner WHERE Joined LIKE '2020%'",
    # booleans
    "SELECT Name FROM Runner WHERE isPro = 1",
    "SELECT Name FROM Runner WHERE isPro = '1'",
    "SELECT Name FROM Runner WHERE isPro != 0",
    "SELECT Name FROM Runner WHERE isPro > 0",
    "SELECT Name FROM Runner WHERE isPro = 7",
    "SELECT Name FROM Runner WHERE Flag = 'T'",
    "SELECT Name, isPro, Flag FROM Runner",
    "SELECT sum(isPro), avg(isPro), max(isPro), count(isPro) FROM Runner",
    "SELECT isPro, count(*) FROM Runner GROUP BY isPro ORDER BY isPro",
    # columns of different types
    "SELECT Name FROM Runner JOIN Team ON Runner.team_id = Team.code",
    "SELECT Name FROM Runner WHERE team_id IN (SELECT code FROM Team)",
    "SELECT Name FROM Runner WHERE team_id NOT IN (SELECT code FROM Team WHERE code != 'x')",
    "SELECT city FROM Team WHERE code IN (SELECT team_id FROM Runner)",
    "SELECT city FROM Team WHERE code = (SELECT max(team_id) FROM Runner)",
    # dates
    "SELECT CAST(strftime('%Y', born) AS INTEGER), CAST(strftime('%m', born) AS INTEGER), "
    "CAST(strftime('%d', born) AS INTEGER), CAST(strftime('%w', born) AS INTEGER) FROM Runner",
    "SELECT CAST(strftime('%Y', bornText) AS INTEGER) FROM Runner",
    "SELECT CAST(strftime('%w', bornText) AS INTEGER) FROM Runner",
    "SELECT CAST(strftime('%Y', Joined) AS INTEGER), count(*) FROM Runner GROUP BY 1",
    "SELECT (CAST(strftime('%m', born) AS INTEGER) + 2) / 3, count(*) FROM Runner "
    "GROUP BY (CAST(strftime('%m', born) AS INTEGER) + 2) / 3",
    "SELECT Name FROM Runner WHERE strftime('%Y', born) = '2001'",
    "SELECT Name FROM Runner WHERE strftime('%Y', bornText) > 1989",
    "SELECT min(born), max(Joined), count(DISTINCT born) FROM Runner",
    "SELECT avg(born) FROM Runner",
    # numbers
    "SELECT laps / 2 FROM Runner",
    "SELECT speed / laps FROM Runner",
    "SELECT sum(laps) / count(*), avg(laps), avg(speed) FROM Runner",
    "SELECT sum(laps) / sum(speed), max(laps) - min(laps), laps * speed FROM Runner GROUP BY Name",
    "SELECT avg(CASE WHEN isPro = 1 THEN 100.0 ELSE 0.0 END) FROM Runner",
    "SELECT laps + '2', laps * '1.5' FROM Runner",
    # NULLs in order
    "SELECT Name FROM Runner ORDER BY speed, Name",
    "SELECT Name FROM Runner ORDER BY speed DESC, Name LIMIT 3",
    "SELECT Name FROM Runner ORDER BY born LIMIT 1",
    # groups
    "SELECT city, count(*) FROM Runner JOIN Team ON Runner.team_id = Team.Id GROUP BY Team.Id",
    "SELECT city, Team.code, avg(laps) FROM Runner JOIN Team ON Runner.team_id = Team.Id "
    "GROUP BY Runner.team_id HAVING Team.city = 'Lyon'",
    "SELECT Name, count(*) FROM Runner WHERE Name = 'Ann'",
    "SELECT Name, max(speed) FROM Runner WHERE speed < 4 AND laps < 5",
    "SELECT Name, min(laps) FROM Runner",
    "SELECT team_id, Name, max(laps) FROM Runner WHERE team_id = 1 GROUP BY team_id",
    "SELECT * FROM Team GROUP BY Id",
    "SELECT team_id, strftime('%Y', born) FROM Runner GROUP BY RunnerID",
    "SELECT Year FROM Race GROUP BY Year HAVING count(*) = 2 ORDER BY Year",
    "SELECT max(laps) FROM Runner GROUP BY team_id ORDER BY team_id",
    "SELECT DISTINCT team_id FROM Runner ORDER BY laps, team_id",
    "SELECT DISTINCT laps FROM Runner ORDER BY speed DESC, laps LIMIT 2",
    "SELECT DISTINCT Name FROM Runner ORDER BY laps DESC LIMIT 1",
    # ranks and ties
    "SELECT team_id FROM Runner GROUP BY team_id ORDER BY count(*) DESC LIMIT 1",
    "SELECT Year FROM Race GROUP BY Year ORDER BY count(*) DESC LIMIT 1",
    "SELECT Name FROM Runner ORDER BY laps DESC LIMIT 1",
    "SELECT Name FROM Runner JOIN Race ON Runner.RunnerID = Race.RunnerID "
    "GROUP BY Runner.RunnerID ORDER BY count(*) DESC LIMIT 1",
    # nested queries
    "SELECT Name FROM Runner WHERE laps = (SELECT laps FROM Runner WHERE team_id = 1)",
    "SELECT Name FROM Runner WHERE laps > (SELECT laps FROM Runner UNION SELECT laps FROM Runner)",
    "SELECT Name FROM Runner WHERE laps IN (SELECT laps FROM Runner ORDER BY laps DESC LIMIT 2)",
    "SELECT count(*) FROM (SELECT Name, Name FROM Runner)",
    "SELECT count(*) FROM (SELECT count(*), count(*) FROM Runner GROUP BY laps)",
    "SELECT count(*) FROM (SELECT a.Name, b.Name FROM Runner a JOIN Runner b ON a.laps = b.laps)",
    # set operations
    "SELECT team_id FROM Runner WHERE laps > 4 INTERSECT SELECT team_id FROM Runner WHERE laps < 3",
    "SELECT RunnerID FROM Runner EXCEPT SELECT RunnerID FROM Race",
    "SELECT Name FROM Runner UNION SELECT city FROM Team UNION SELECT code FROM Team",
]  # fmt: skip
RANKED = (
    "SELECT item_1, item_2 FROM (SELECT Name AS item_1, laps AS item_2, row_number() OVER "
    "(PARTITION BY team_id ORDER BY laps DESC) AS place FROM Runner) AS ranked WHERE place <= 1"
)
STRICT_CASES.append(RANKED)
# MySQL compares by the column's collation, here one that tells cases apart.
OTHER_CASE = [
    "SELECT Name FROM Runner WHERE Name LIKE 'ANN%'",
    "SELECT Name FROM Runner WHERE Name NOT LIKE '%NN%'",
]


@pytest.fixture(scope="module")
def strict_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("strict") / "strict.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(STRICT)
    return path
