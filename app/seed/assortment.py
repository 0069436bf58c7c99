"""What the demo shop sells: per category the makes and the kinds of product; every make comes in every kind."""

from dataclasses import dataclass
from typing import Final

OUTDOOR: Final = 0
HOME: Final = 1
"""The two stores, by number."""


@dataclass(frozen=True)
class Kind:
    """A kind of product: what it is called, its price in whole dollars at the middle of the range, and what it is for."""

    noun: str
    dollars: int
    purpose: str


@dataclass(frozen=True)
class Category:
    """A shelf of one or both stores. The makes go from plain to fine, and prices with them; each detail goes with a make."""

    name: str
    code: str
    stores: tuple[int, ...]
    makes: tuple[str, ...]
    details: tuple[str, ...]
    kinds: tuple[Kind, ...]


ASSORTMENT: Final = (
    Category(
        "Tents",
        "TNT",
        (OUTDOOR,),
        ("Alder", "Bracken", "Cairn", "Fjord", "Skerry", "Summit"),
        (
            "Fibreglass poles, 190T polyester.",
            "Aluminium poles, two vents.",
            "Taped seams, 3,000 mm water column.",
            "Siliconised ripstop, colour-coded pitching.",
            "Double-sided silicone, storm guys included.",
            "Four-season frame, 15-denier fly.",
        ),
        (
            Kind("2-Person Tent", 249, "A light shelter for two and their packs, up in five minutes."),
            Kind("3-Person Tent", 329, "Room for three, with a porch for wet boots."),
            Kind("Tarp Shelter", 89, "An open roof against sun and drizzle, pitched with two walking poles."),
        ),
    ),
    Category(
        "Sleeping",
        "SLP",
        (OUTDOOR,),
        ("Dormouse", "Heather", "Lichen", "Marten", "Ptarmigan", "Snowfinch"),
        (
            "Recycled hollow fibre.",
            "Brushed lining, anti-snag zip.",
            "Draught collar and a pocket for small things.",
            "650-fill duck down, traceable.",
            "750-fill goose down, traceable.",
            "850-fill goose down in box walls.",
        ),
        (
            Kind("Sleeping Bag", 179, "Warm from the first cold night of autumn to the last of spring."),
            Kind("Sleeping Mat", 79, "Keeps the ground's cold and its stones away."),
            Kind("Camp Pillow", 29, "Packs to the size of an apple and sleeps like at home."),
        ),
    ),
    Category(
        "Backpacks",
        "PCK",
        (OUTDOOR,),
        ("Drover", "Heron", "Kestrel", "Osprey Point", "Pilgrim", "Wayfarer"),
        (
            "420-denier nylon.",
            "Rain cover in the base.",
            "Back length set in seconds.",
            "Side zip to the main compartment.",
            "Ventilated mesh back.",
            "Recycled sailcloth, bar-tacked at every load point.",
        ),
        (
            Kind("Day Pack 22 L", 75, "For a day's walk: a jacket, lunch, and a book for the top."),
            Kind("Trekking Pack 55 L", 189, "Carries a week on the hips and not on the shoulders."),
            Kind("Hip Pack 6 L", 39, "Keys, telephone, map and an apple."),
        ),
    ),
    Category(
        "Clothing",
        "CLO",
        (OUTDOOR,),
        ("Birch", "Breakwater", "Galloway", "Haar", "Larch", "Tarn"),
        (
            "Cut for layers.",
            "Two hand pockets that a hip belt leaves free.",
            "Merino blend, no odour after days.",
            "Hood that turns with the head.",
            "Recycled three-layer laminate.",
            "Made to be repaired: spare patches included.",
        ),
        (
            Kind("Rain Jacket", 159, "Keeps out a day of steady rain and lets the climb's warmth go."),
            Kind("Fleece Pullover", 85, "The layer that is worn most, under a shell or by the fire."),
            Kind("Walking Trousers", 95, "Quick to dry, stretching at the knee."),
        ),
    ),
    Category(
        "Camp Kitchen",
        "CKT",
        (OUTDOOR, HOME),
        ("Ember", "Flint", "Hearth", "Juniper", "Kindling", "Rowan"),
        (
            "Hard-anodised aluminium.",
            "Folds flat.",
            "Handles stay cool.",
            "Nests with the rest of the line.",
            "Stainless steel, no coating to scratch.",
            "Titanium, half the weight.",
        ),
        (
            Kind("Camp Stove", 69, "Boils a litre in four minutes, also in wind."),
            Kind("Cook Set", 59, "Two pots, a pan and a lid that strains."),
            Kind("Cutlery Set", 19, "Knife, fork and spoon on one ring."),
        ),
    ),
    Category(
        "Lighting",
        "LGT",
        (OUTDOOR,),
        ("Beacon", "Candela", "Firefly", "Glowworm", "Lodestar", "Polestar"),
        (
            "Runs on three AAA cells.",
            "Warm white and red.",
            "Charges by USB-C.",
            "Dims without steps.",
            "Waterproof to one metre.",
            "Charges a telephone in need.",
        ),
        (
            Kind("Headlamp", 45, "Both hands free and a clear path ahead."),
            Kind("Camp Lantern", 55, "Light for the whole table, at its lowest for twelve nights."),
            Kind("Pocket Torch", 25, "Small enough to be there when it is needed."),
        ),
    ),
    Category(
        "Coffee",
        "COF",
        (HOME,),
        ("Harbour", "Nightjar", "Orchard", "Saddleback", "Terrace", "Wren"),
        (
            "Chocolate and roasted hazelnut.",
            "Dark caramel, low acidity.",
            "Red apple and honey.",
            "Plum and brown sugar.",
            "Bergamot and apricot.",
            "Jasmine, peach and a long finish.",
        ),
        (
            Kind("Espresso Beans 500 g", 17, "Roasted for espresso; rests ten days before it is sent."),
            Kind("Filter Beans 500 g", 18, "Roasted lightly for filter and press."),
            Kind("Decaf Beans 500 g", 19, "Decaffeinated with spring water, for the evening."),
        ),
    ),
    Category(
        "Brewing",
        "BRW",
        (HOME,),
        ("Basil", "Calder", "Foundry", "Linden", "Millrace", "Verity"),
        (
            "For two cups.",
            "For four cups.",
            "Heat-proof glass.",
            "Beech handle, unscrews for washing.",
            "Brushed copper.",
            "Double wall, keeps warm for an hour.",
        ),
        (
            Kind("Pour-Over Dripper", 32, "Even flow through three ribs; takes common paper filters."),
            Kind("French Press", 48, "A fine mesh, so that the last sip is as clear as the first."),
            Kind("Gooseneck Kettle", 79, "Pours where it is pointed, as slowly as wanted."),
        ),
    ),
    Category(
        "Grinders & Scales",
        "GRD",
        (HOME,),
        ("Anvil", "Burrow", "Cogwheel", "Mason", "Quern", "Tallow"),
        (
            "Nylon body.",
            "Removable bin.",
            "Adjusts in 24 steps.",
            "Hardened steel.",
            "Quiet enough for six in the morning.",
            "Aluminium body, ten years of spare parts.",
        ),
        (
            Kind("Hand Grinder", 65, "Conical burrs and a crank that folds away."),
            Kind("Electric Grinder", 149, "From Turkish to press without a change of burrs."),
            Kind("Brew Scale", 42, "A tenth of a gram and a timer, under glass."),
        ),
    ),
    Category(
        "Drinkware",
        "DRK",
        (OUTDOOR, HOME),
        ("Bramble", "Clover", "Cove", "Meadow", "Pebble", "Thistle"),
        (
            "Dishwasher safe.",
            "Speckled white with a blue rim.",
            "Holds its own weight in stories.",
            "Glazed by hand, no two alike.",
            "Leakproof, one hand opens it.",
            "Signed by its maker.",
        ),
        (
            Kind("Enamel Mug", 14, "Survives the fire, the sink and the drop between."),
            Kind("Travel Tumbler", 34, "Six hours hot, twelve cold."),
            Kind("Stoneware Cup", 22, "Thick walls and a rim that is kind to the lip."),
        ),
    ),
    Category(
        "Textiles",
        "TXT",
        (HOME,),
        ("Ashby", "Cotswold", "Dovecote", "Fairlie", "Selkirk", "Windermere"),
        (
            "Cotton.",
            "Washed cotton.",
            "Half linen.",
            "Linen from European flax.",
            "Lambswool.",
            "Woven in a mill that is older than the railway.",
        ),
        (
            Kind("Throw Blanket", 89, "For the arm of the sofa, where it will not stay."),
            Kind("Tea Towels, Set of 3", 24, "Dry from the first wash on."),
            Kind("Table Runner", 38, "Half the work of a tablecloth."),
        ),
    ),
    Category(
        "Candles & Scents",
        "CND",
        (HOME,),
        ("Amber", "Cedar", "Fig Leaf", "Lavender", "Saltmarsh", "Woodsmoke"),
        (
            "Warm and resinous.",
            "Dry wood after rain.",
            "Green, with a little milk.",
            "The field and not the soap.",
            "Wind, driftwood, a trace of iodine.",
            "The morning after the campfire.",
        ),
        (
            Kind("Soy Candle", 26, "Burns for forty hours in a glass that becomes a tumbler."),
            Kind("Reed Diffuser", 34, "Three months of scent, no flame."),
            Kind("Beeswax Pillar", 18, "Dripless, from a beekeeper in the next valley."),
        ),
    ),
)

GIVEN_NAMES: Final = ("Ada", "Bruno", "Clara", "Dario", "Esther", "Felix", "Greta", "Hugo", "Ines", "Jonas", "Karin", "Leo", "Maya", "Nils")
FAMILY_NAMES: Final = (
    "Abbott",
    "Berger",
    "Castell",
    "Dahl",
    "Ekwueme",
    "Fontana",
    "Grieve",
    "Hoshino",
    "Ivarsson",
    "Jansen",
    "Kowalski",
    "Lindqvist",
    "Moreau",
    "Nakamura",
)
"""The shoppers' names, paired in this order."""
