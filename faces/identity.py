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


def sample_identity(random: Random) -> Identity:
    """Sample a person."""
    # Age: web photographs show mostly young and middle-aged adults, many children, some elderly.
    stage = random.pick({"baby": 0.10, "child": 0.17, "young": 0.45, "middle": 0.18, "old": 0.10})
    position = {
        "baby": random.uniform(0.0, 0.5),
        "child": random.uniform(0.5, 1.6),
        "young": random.uniform(1.6, 2.25),
        "middle": random.uniform(2.25, 2.65),
        "old": random.uniform(2.65, 3.0),
    }[stage]
    ages = _between(position, tuple(name for name, _ in AGE_ANCHORS))
    age = math.fsum(ages[name] * years for name, years in AGE_ANCHORS if name in ages)
    gender = random.uniform(0, 0.3) if random.chance(0.5) else random.uniform(0.7, 1.0)
    shares = {name: random.uniform(0, 0.25) for name in ANCESTRIES}
    shares[random.pick({"african": 0.22, "asian": 0.22, "caucasian": 0.56})] += random.uniform(0.5, 3.0)
    total = math.fsum(shares.values())
    ancestry = {name: share / total for name, share in shares.items()}

    weights: dict[str, float] = {}

    def add(name: str, value: float) -> None:
        if name in load_head().names and abs(value) > 1e-3:
            weights[name] = weights.get(name, 0.0) + value

    muscle = _between(random.triangular(0, 2), ("minmuscle", "averagemuscle", "maxmuscle"))
    weight = _between(random.triangular(0, 2), ("minweight", "averageweight", "maxweight"))
    for stage_name, a in ages.items():
        for sex, g in (("male", gender), ("female", 1 - gender)):
            for name, share in ancestry.items():
                add(f"macro/{name}-{sex}-{stage_name}", a * g * share)
            for m, by_muscle in muscle.items():
                for w, by_weight in weight.items():
                    add(f"macro/universal-{sex}-{stage_name}-{m}-{w}", a * g * by_muscle * by_weight)
    spread = random.uniform(0.08, 0.28)
    for axis, sides in _shape_axes().items():
        scale = spread
        if "/neck/" in axis or "/asym/" in axis or "mouth-angles" in axis:
            scale *= 0.35
        elif "trans" in axis or "nubian" in axis or "nose-scale-depth" in axis or "nose-point" in axis:
            scale *= 0.6
        elif "/mouth/" in axis:
            scale *= 1.5
        shared = random.normal(0, scale)
        if random.chance(0.35):
            continue
        for targets in sides.values():
            value = min(max(shared + random.normal(0, 0.2 * scale), -0.9), 0.9)
            ordered = sorted(targets)
            if len(ordered) == 2:
                add(ordered[0] if value < 0 else ordered[1], abs(value))
            else:
                add(ordered[0], 0.5 * abs(value))
    for _ in range(2):
        add(HEAD_FORMS[random.integer(len(HEAD_FORMS))], random.uniform(0, 0.5))

    adult, male = age > 16, gender > 0.5
    old = min(max((age - 35) / 40, 0.0), 1.0)
    skin = 0.56 - 0.36 * ancestry["african"] - 0.06 * ancestry["asian"]
    skin = min(max(skin * exp(random.normal(0, 0.16)), 0.07), 0.80)
    fair = random.chance(0.55 * ancestry["caucasian"])
    hair_tone = random.log_uniform(0.07, 0.5) if fair else random.log_uniform(0.012, 0.06)
    if random.chance(1.2 * old - 0.2):
        hair_tone = random.uniform(0.25, 0.75)
    balding = 0.55 * (age < 1.8) + (0.08 + 0.25 * old) * (adult and male)
    if random.chance(balding):
        hair = "bald"
    else:
        hair = "long" if random.chance((0.1 if male else 0.75) * (age > 4)) else "short"
    beard = "none"
    if adult and male and random.chance(0.5):
        beard = random.pick({"stubble": 0.4, "moustache": 0.12, "goatee": 0.18, "full": 0.3})
    glasses = "none"
    if random.chance(0.03 if age < 8 else 0.12 + 0.12 * old):
        glasses = "sun" if random.chance(0.12) else "clear"
    made_up = adult and not male and random.chance(0.5)
    brow = {
        "thickness": random.uniform(0.028, 0.062) * (1.15 if male else 0.85),
        "strength": random.uniform(0.55, 1.0) if age > 3 else random.uniform(0.1, 0.6),
        "arch": random.uniform(0.0, 0.06) + (0.02 if made_up else 0.0),
        "height": random.normal(0.0, 0.018),
        "slope": random.normal(0.0, 0.025),
    }
    return Identity(
        weights=weights,
        age=age,
        gender=gender,
        ancestry=ancestry,
        skin=skin,
        hair_tone=hair_tone,
        lip_tone=random.uniform(0.3, 0.7) if made_up else random.uniform(0.5, 1.0),
        iris_tone=random.log_uniform(0.008, 0.05 if ancestry["caucasian"] < 0.6 else 0.25),
        hair=hair,
        beard=beard,
        brow=brow,
        glasses=glasses,
        old=old,
        smile_teeth=random.uniform(0.0, 1.0),
    )
