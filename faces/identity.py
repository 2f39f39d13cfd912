"""Who: a sampled person's head shape, skin, hair and habits."""

import functools
import math
import re
from dataclasses import dataclass

from faces.geometry import load_head
from faces.maths import Random, exp

AGE_ANCHORS = (("baby", 1.0), ("child", 11.0), ("young", 25.0), ("old", 85.0))  # MakeHuman's ages in years
ANCESTRIES = ("african", "asian", "caucasian")
HEAD_FORMS = tuple(
    "shape/head/head-" + form
    for form in ("oval", "round", "square", "rectangular", "diamond", "triangular", "invertedtriangular")
)
# Parts of the names of axes along which heads vary less, or more, than along others.
_VARIATIONS = {
    0.35: ("/neck/", "/asym/", "mouth-angles"),
    0.6: ("trans", "nubian", "nose-scale-depth", "nose-point"),
    1.5: ("/mouth/",),
}
_OPPOSITES = "incr|decr|up|down|in|out|forward|backward|convex|concave|compress|uncompress"


@dataclass(frozen=True)
class Identity:
    """A person; the same in all of that person's images.

    Attributes
    ----------
    weights : dict of str to float
        Shape targets.
    age : float
        Years, 1..85.
    gender : float
        0 female .. 1 male, MakeHuman's macro slider.
    ancestry : dict of str to float
        Shares of the three MakeHuman ancestries; sum 1.
    skin, hair_tone, lip_tone, iris_tone : float
        Albedo (lip_tone: as a factor on the skin's).
    hair : str
        bald, short or long.
    beard : str
        none, stubble, moustache, goatee or full.
    brow : dict of str to float
        Thickness, strength, arch and height of the painted brows.
    glasses : str
        none, clear or sun (may be taken off in an image).
    old : float
        0..1, strength of wrinkles.
    smile_teeth : float
        0..1, inclination to show the teeth in a smile.
    """

    weights: dict[str, float]
    age: float
    gender: float
    ancestry: dict[str, float]
    skin: float
    hair_tone: float
    lip_tone: float
    iris_tone: float
    hair: str
    beard: str
    brow: dict[str, float]
    glasses: str
    old: float
    smile_teeth: float


@functools.cache
def _shape_axes() -> dict[str, dict[str, list[str]]]:
    """Identity targets grouped into axes: axis without side -> axis with side -> its one or two targets."""
    axes: dict[str, dict[str, list[str]]] = {}
    for name in load_head().names:
        if not name.startswith("shape/") or name in HEAD_FORMS or "asymm" in name:
            continue
        match = re.match(rf"(.*)-({_OPPOSITES})$", name)
        axis = match.group(1) if match else name
        if "/asym/" in name:
            axis = name[:-2]
        bilateral = re.sub(r"/([lr])-", "/", axis)
        axes.setdefault(bilateral, {}).setdefault(axis, []).append(name)
    return axes


def _between(position: float, names: tuple[str, ...]) -> dict[str, float]:
    """Linear weights of the two names around `position` in 0..len(names)-1."""
    lower = min(int(position), len(names) - 2)
    return {names[lower]: lower + 1 - position, names[lower + 1]: position - lower}


class _Weights(dict[str, float]):
    """Shape targets by name; those that the packed head lacks and those too weak to see are left out."""

    def add(self, name: str, value: float) -> None:
        """Add to a target's weight."""
        if name in load_head().names and abs(value) > 1e-3:
            self[name] = self.get(name, 0.0) + value


def sample_identity(random: Random) -> Identity:
    """Sample a person."""
    age, ages = _age(random)
    gender = random.uniform(0, 0.3) if random.chance(0.5) else random.uniform(0.7, 1.0)
    ancestry = _ancestry(random)
    weights = _Weights()
    _grow(random, weights, ages, gender, ancestry)
    _shape(random, weights)
    adult, male = age > 16, gender > 0.5
    old = min(max((age - 35) / 40, 0.0), 1.0)
    skin, hair_tone = _colours(random, ancestry, old)
    hair = _hair(random, age, male, old)
    beard = "none"
    if adult and male and random.chance(0.5):
        beard = random.pick({"stubble": 0.4, "moustache": 0.12, "goatee": 0.18, "full": 0.3})
    glasses = _glasses(random, age, old)
    made_up = adult and not male and random.chance(0.5)
    return Identity(
        weights=dict(weights),
        age=age,
        gender=gender,
        ancestry=ancestry,
        skin=skin,
        hair_tone=hair_tone,
        hair=hair,
        beard=beard,
        brow=_brow(random, age, male, made_up),
        lip_tone=random.uniform(0.3, 0.7) if made_up else random.uniform(0.5, 1.0),
        iris_tone=random.log_uniform(0.008, 0.05 if ancestry["caucasian"] < 0.6 else 0.25),
        glasses=glasses,
        old=old,
        smile_teeth=random.uniform(0.0, 1.0),
    )


def _age(random: Random) -> tuple[float, dict[str, float]]:
    """Return years, and the shares of the two of `AGE_ANCHORS` around them."""
    # Web photographs show mostly young and middle-aged adults, many children, some elderly.
    stage = random.pick({"baby": 0.10, "child": 0.17, "young": 0.45, "middle": 0.18, "old": 0.10})
    position = {
        "baby": random.uniform(0.0, 0.5),
        "child": random.uniform(0.5, 1.6),
        "young": random.uniform(1.6, 2.25),
        "middle": random.uniform(2.25, 2.65),
        "old": random.uniform(2.65, 3.0),
    }[stage]
    ages = _between(position, tuple(name for name, _ in AGE_ANCHORS))
    return math.fsum(ages[name] * years for name, years in AGE_ANCHORS if name in ages), ages


def _ancestry(random: Random) -> dict[str, float]:
    """Return shares that add up to 1, one of them large."""
    shares = {name: random.uniform(0, 0.25) for name in ANCESTRIES}
    shares[random.pick({"african": 0.22, "asian": 0.22, "caucasian": 0.56})] += random.uniform(0.5, 3.0)
    total = math.fsum(shares.values())
    return {name: share / total for name, share in shares.items()}


def _grow(
    random: Random, weights: _Weights, ages: dict[str, float], gender: float, ancestry: dict[str, float]
) -> None:
    """Add the shape of a head of that age, gender and ancestry, of some build."""
    muscle = _between(random.triangular(0, 2), ("minmuscle", "averagemuscle", "maxmuscle"))
    weight = _between(random.triangular(0, 2), ("minweight", "averageweight", "maxweight"))
    build = [
        (f"{m}-{w}", by_muscle, by_weight)
        for m, by_muscle in muscle.items()
        for w, by_weight in weight.items()
    ]
    for stage, a in ages.items():
        for sex, g in (("male", gender), ("female", 1 - gender)):
            for name, share in ancestry.items():
                weights.add(f"macro/{name}-{sex}-{stage}", a * g * share)
            for name, by_muscle, by_weight in build:
                weights.add(f"macro/universal-{sex}-{stage}-{name}", a * g * by_muscle * by_weight)


def _shape(random: Random, weights: _Weights) -> None:
    """Add what distinguishes a head from others of its age, gender and ancestry."""
    spread = random.uniform(0.08, 0.28)
    for axis, sides in _shape_axes().items():
        scale = spread * _variation(axis)
        shared = random.normal(0, scale)
        if random.chance(0.35):
            continue
        for targets in sides.values():
            value = min(max(shared + random.normal(0, 0.2 * scale), -0.9), 0.9)
            ordered = sorted(targets)
            if len(ordered) == 2:
                weights.add(ordered[0] if value < 0 else ordered[1], abs(value))
            else:
                weights.add(ordered[0], 0.5 * abs(value))
    for _ in range(2):
        weights.add(HEAD_FORMS[random.integer(len(HEAD_FORMS))], random.uniform(0, 0.5))


def _variation(axis: str) -> float:
    """Return how much heads vary along an axis of shape: 1 for most axes."""
    for factor, parts in _VARIATIONS.items():
        if any(part in axis for part in parts):
            return factor
    return 1.0


def _colours(random: Random, ancestry: dict[str, float], old: float) -> tuple[float, float]:
    """Return the albedo of skin and hair."""
    skin = 0.56 - 0.36 * ancestry["african"] - 0.06 * ancestry["asian"]
    skin = min(max(skin * exp(random.normal(0, 0.16)), 0.07), 0.80)
    fair = random.chance(0.55 * ancestry["caucasian"])
    hair = random.log_uniform(0.07, 0.5) if fair else random.log_uniform(0.012, 0.06)
    if random.chance(1.2 * old - 0.2):
        hair = random.uniform(0.25, 0.75)
    return skin, hair


def _hair(random: Random, age: float, male: bool, old: float) -> str:
    if random.chance(0.55 * (age < 1.8) + (0.08 + 0.25 * old) * (age > 16 and male)):
        return "bald"
    return "long" if random.chance((0.1 if male else 0.75) * (age > 4)) else "short"


def _glasses(random: Random, age: float, old: float) -> str:
    if random.chance(0.03 if age < 8 else 0.12 + 0.12 * old):
        return "sun" if random.chance(0.12) else "clear"
    return "none"


def _brow(random: Random, age: float, male: bool, made_up: bool) -> dict[str, float]:
    return {
        "thickness": random.uniform(0.028, 0.062) * (1.15 if male else 0.85),
        "strength": random.uniform(0.55, 1.0) if age > 3 else random.uniform(0.1, 0.6),
        "arch": random.uniform(0.0, 0.06) + (0.02 if made_up else 0.0),
        "height": random.normal(0.0, 0.018),
        "slope": random.normal(0.0, 0.025),
    }
