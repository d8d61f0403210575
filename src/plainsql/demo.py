"""A database to try questions on: Cantabile, a made-up seller of musical instruments.

Five shops, their staff, 140 customers in a dozen countries and three years of
orders (2022 to 2024). Everything is drawn from the word lists below with a
fixed seed, so the same questions have the same answers everywhere. People and
makers are invented.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import astuple, dataclass
from datetime import date, timedelta
from pathlib import Path
from random import Random

from plainsql.demo_words import CITIES, KINDS, MAKERS, MODELS, PEOPLE, SHOP_OPENINGS
from plainsql.errors import ConnectError

DEMO_QUESTIONS: tuple[str, ...] = (
    "How many customers are there?",
    "What is the name of the most expensive product?",
    "List the names of the customers who live in Lyon.",
    "Which makers have more than 7 products?",
    "What is the average price of the products in the category guitar?",
    "Which products have never been ordered?",
    "How many orders were placed in 2024?",
    "Which store has the most employees?",
)

SEED = 1685  # the year Bach, Händel and Scarlatti were born
FIRST_DAY, LAST_DAY = date(2022, 1, 3), date(2024, 12, 30)
CUSTOMERS, ORDERS, NEVER_ORDERED = 140, 380, 4
# Euros a month: lowest and highest.
SALARIES = {
    "store manager": (4200, 5000),
    "instrument repairer": (2900, 3700),
    "salesperson": (2300, 3300),
}

SCHEMA = """
CREATE TABLE cities (
    city_id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    country TEXT NOT NULL,
    population INTEGER NOT NULL
);
CREATE TABLE stores (
    store_id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    city_id INTEGER NOT NULL REFERENCES cities (city_id),
    opened_on DATE NOT NULL,
    floor_area INTEGER NOT NULL -- square metres
);
CREATE TABLE employees (
    employee_id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    job_title TEXT NOT NULL,
    store_id INTEGER NOT NULL REFERENCES stores (store_id),
    manager_id INTEGER REFERENCES employees (employee_id), -- empty for the director
    hired_on DATE NOT NULL,
    salary DECIMAL(8, 2) NOT NULL -- euros a month
);
CREATE TABLE customers (
    customer_id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    email TEXT NOT NULL UNIQUE,
    city_id INTEGER NOT NULL REFERENCES cities (city_id),
    joined_on DATE NOT NULL,
    newsletter BOOLEAN NOT NULL -- 1 when they want it
);
CREATE TABLE makers ( -- who builds the instruments
    maker_id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    country TEXT NOT NULL,
    founded_year INTEGER NOT NULL
);
CREATE TABLE products (
    product_id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    category TEXT NOT NULL, -- guitar, violin, piano, drum, flute, brass or accessory
    maker_id INTEGER NOT NULL REFERENCES makers (maker_id),
    price DECIMAL(8, 2) NOT NULL, -- euros
    stock INTEGER NOT NULL -- pieces in the warehouse
);
CREATE TABLE orders (
    order_id INTEGER PRIMARY KEY,
    customer_id INTEGER NOT NULL REFERENCES customers (customer_id),
    employee_id INTEGER NOT NULL REFERENCES employees (employee_id), -- who sold it
    ordered_on DATE NOT NULL,
    status TEXT NOT NULL, -- delivered, shipped, returned or cancelled
    payment TEXT NOT NULL -- card, transfer, invoice or cash
);
CREATE TABLE order_items (
    order_id INTEGER NOT NULL REFERENCES orders (order_id),
    product_id INTEGER NOT NULL REFERENCES products (product_id),
    quantity INTEGER NOT NULL,
    unit_price DECIMAL(8, 2) NOT NULL, -- euros, after any discount
    PRIMARY KEY (order_id, product_id)
);
"""

SEASON = (7, 6, 7, 7, 7, 6, 5, 6, 9, 9, 12, 18)  # share of a year's orders, January on


@dataclass(frozen=True, slots=True)
class Employee:
    """One row of `employees`."""

    employee_id: int
    name: str
    job_title: str
    store_id: int
    manager_id: int | None
    hired_on: str
    salary: float


@dataclass(frozen=True, slots=True)
class Customer:
    """One row of `customers`."""

    customer_id: int
    name: str
    email: str
    city_id: int
    joined_on: str
    newsletter: int


@dataclass(frozen=True, slots=True)
class Product:
    """One row of `products`."""

    product_id: int
    name: str
    category: str
    maker_id: int
    price: float
    stock: int


@dataclass(frozen=True, slots=True)
class Order:
    """One row of `orders`."""

    order_id: int
    customer_id: int
    employee_id: int
    ordered_on: str
    status: str
    payment: str


@dataclass(frozen=True, slots=True)
class OrderItem:
    """One row of `order_items`."""

    order_id: int
    product_id: int
    quantity: int
    unit_price: float


def make_demo(path: str | os.PathLike[str]) -> Path:
    """Write the demo database to `path`, whole or not at all, and return the path.

    A file that is there already is replaced; missing folders are made. Raises
    ConnectError when the place can't be written.
    """
    target = Path(path).expanduser()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.name}-", dir=target.parent)
        os.close(handle)
        try:
            _write(Path(name))
            os.chmod(name, 0o644)  # mkstemp gives 0o600
            os.replace(name, target)
        finally:
            Path(name).unlink(missing_ok=True)
    except (OSError, sqlite3.Error) as error:
        raise ConnectError(
            f"The demo database can't be written to {str(target)!r} ({error}).",
            hint="Name another place, for example demo.sqlite.",
        ) from error
    return target


def _write(path: Path) -> None:
    """Fill the empty file `path` in one transaction, on the disk when this returns."""
    random = Random(SEED)
    employees = _employees(random)
    customers = _customers(random)
    products = _products(random)
    orders = _orders(random, customers, employees)
    items = _items(random, orders, products)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript("PRAGMA foreign_keys = ON;" + SCHEMA + "BEGIN;")
        _insert(connection, "cities", [(i, *city) for i, city in enumerate(CITIES, 1)])
        _insert(connection, "stores", list(_stores()))
        _insert(connection, "employees", [astuple(row) for row in employees])
        _insert(connection, "customers", [astuple(row) for row in customers])
        makers = [(i, name, place, year) for i, (name, place, year, _) in enumerate(MAKERS, 1)]
        _insert(connection, "makers", makers)
        _insert(connection, "products", [astuple(row) for row in products])
        _insert(connection, "orders", [astuple(row) for row in orders])
        _insert(connection, "order_items", [astuple(row) for row in items])


def _insert(connection: sqlite3.Connection, table: str, rows: Sequence[tuple[object, ...]]) -> None:
    marks = ", ".join("?" * len(rows[0]))
    connection.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)


def _stores() -> Iterator[tuple[object, ...]]:
    """The first cities have one shop each."""
    for number, (opened, area) in enumerate(SHOP_OPENINGS, 1):
        yield number, f"Cantabile {CITIES[number - 1][0]}", number, opened.isoformat(), area


def _people(random: Random, country: str, count: int) -> list[str]:
    """`count` different full names of a country."""
    first, last = (text.split() for text in PEOPLE[country])
    return random.sample([f"{a} {b}" for a in first for b in last], count)


def _employees(random: Random) -> list[Employee]:
    """A director, and in each shop a manager with a repairer and salespeople."""
    opened = SHOP_OPENINGS[0][0].isoformat()
    staff = [Employee(1, "Ulrike Brandt", "director", 1, None, opened, 7400)]
    for store, sellers in enumerate((7, 5, 4, 4, 2), 1):
        names = _people(random, CITIES[store - 1][1], sellers + 2)
        titles = ("store manager", "instrument repairer", *["salesperson"] * sellers)
        manager = len(staff) + 1
        for name, title in zip(names, titles, strict=True):
            boss = 1 if title == "store manager" else manager
            staff.append(_employee(random, len(staff) + 1, name, title, store, boss))
    return staff


def _employee(
    random: Random, number: int, name: str, title: str, store: int, boss: int
) -> Employee:
    """Managers opened their shop; the others came later, before the first order."""
    opened = SHOP_OPENINGS[store - 1][0]
    later = opened + timedelta(days=random.randrange((FIRST_DAY - opened).days))
    hired = opened if title == "store manager" else later
    low, high = SALARIES[title]
    salary = random.randrange(low, high, 50)
    return Employee(number, name, title, store, boss, hired.isoformat(), salary)


def _customers(random: Random) -> list[Customer]:
    """More of them in the cities with a shop; they joined before or during the orders."""
    weights = [9] * len(SHOP_OPENINGS) + [3] * (len(CITIES) - len(SHOP_OPENINGS))
    homes = random.choices(range(1, len(CITIES) + 1), weights, k=CUSTOMERS)
    names = {
        country: iter(_people(random, country, sum(CITIES[h - 1][1] == country for h in homes)))
        for country in PEOPLE
    }
    customers = []
    for number, home in enumerate(homes, 1):
        name = next(names[CITIES[home - 1][1]])
        joined = date(2019, 6, 1) + timedelta(days=random.randrange(1900))
        mail = f"{_ascii(name)}{number}@example.com"
        wants = int(random.random() < 0.6)
        customers.append(Customer(number, name, mail, home, joined.isoformat(), wants))
    return customers


def _ascii(name: str) -> str:
    """ "Élise Lefèvre" -> "elise.lefevre", for an address."""
    plain = name.lower().translate(str.maketrans("łıøß", "lios"))
    letters = unicodedata.normalize("NFKD", plain).encode("ascii", "ignore").decode()
    return letters.replace(" ", ".")


def _products(random: Random) -> list[Product]:
    """One to three models of each kind that each maker builds, no name twice."""
    products: list[Product] = []
    models = {kind: iter(random.sample(MODELS.split(), len(MODELS.split()))) for kind in KINDS}
    for maker, (_, _, _, kinds) in enumerate(MAKERS, 1):
        for kind in kinds.split(","):
            category, low, high, stock = KINDS[kind]
            for _ in range(random.choice((1, 2, 2, 3))):
                name = f"{kind} {next(models[kind])}"
                price, left = _price(random, low, high), random.randrange(stock + 1)
                products.append(Product(len(products) + 1, name, category, maker, price, left))
    return products


def _price(random: Random, low: int, high: int) -> float:
    """Mostly near the low end (log-uniform), ending in .90 below 50 euros, in 9 above."""
    price = low * (high / low) ** random.random()
    return int(price) + 0.9 if price < 50 else float(round(price / 10) * 10 - 1)


def _orders(
    random: Random, customers: Sequence[Customer], staff: Sequence[Employee]
) -> list[Order]:
    """In order of time: more each year and before Christmas, by people already known."""
    loyal = [c for c in customers if random.random() < 0.92]  # the others never order
    weights = [random.choice((2, 2, 3, 4, 8)) for _ in loyal]
    sellers = [e for e in staff if e.job_title == "salesperson"]
    orders = []
    for number, day in enumerate(sorted(_order_day(random) for _ in range(ORDERS)), 1):
        known = [
            w if c.joined_on <= day.isoformat() else 0 for c, w in zip(loyal, weights, strict=True)
        ]
        customer = random.choices(loyal, known)[0]
        near = [e for e in sellers if e.store_id == customer.city_id] or sellers
        status = _status(random, day)
        payment = random.choices(("card", "transfer", "invoice", "cash"), (55, 22, 15, 8))[0]
        seller = random.choice(near).employee_id
        orders.append(Order(number, customer.customer_id, seller, day.isoformat(), status, payment))
    return orders


def _order_day(random: Random) -> date:
    year = random.choices((2022, 2023, 2024), (25, 33, 42))[0]
    month = random.choices(range(1, 13), SEASON)[0]
    day = date(year, month, random.randrange(1, 29))
    return min(max(day, FIRST_DAY), LAST_DAY)


def _status(random: Random, day: date) -> str:
    """Orders of the last days are still on their way."""
    if (LAST_DAY - day).days < 10:
        return "shipped"
    return random.choices(("delivered", "returned", "cancelled"), (89, 6, 5))[0]


def _items(random: Random, orders: Sequence[Order], products: Sequence[Product]) -> list[OrderItem]:
    """One to four products an order; cheap ones sell more often and in numbers."""
    hidden = set(random.sample([p.product_id for p in products], NEVER_ORDERED))
    sold = [p for p in products if p.product_id not in hidden]
    weights = [3000 / (200 + p.price) for p in sold]
    items = []
    for order in orders:
        count = random.choices((1, 2, 3, 4), (48, 30, 15, 7))[0]
        basket = {p.product_id: p for p in random.choices(sold, weights, k=count)}
        for product in basket.values():
            quantity = random.choice((1, 1, 2, 3, 5)) if product.price < 60 else 1
            discount = random.choices((1, 0.95, 0.9), (80, 12, 8))[0]
            paid = round(product.price * discount, 2)
            items.append(OrderItem(order.order_id, product.product_id, quantity, paid))
    return items
