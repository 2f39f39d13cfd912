"""What the face does: facial actions for neutral, happy and surprise.

The actions are the 52 of ARKit, modelled by Mika Suominen's Face Units; intensity 1 is the full action. Which
actions make up which expression follows the Facial Action Coding System (Ekman and Friesen, 1978):
happiness is AU6+12 (cheek raiser, lip corner puller) with or without parted lips (AU25, 26), surprise
AU1+2+5+26 (inner and outer brow raiser, upper lid raiser, jaw drop). Ranges and frequencies were chosen so
that the renders cover what photographs of the three classes show.
"""

from dataclasses import dataclass

from faces.identity import Identity
from faces.maths import Random
from fer_lib.files import UsageError

CLASSES = ("neutral", "happy", "surprise")
_PAIRED = {
    *(
        "browDown",
        "browOuterUp",
        "cheekSquint",
        "eyeBlink",
        "eyeSquint",
        "eyeWide",
        "mouthDimple",
        "mouthFrown",
    ),
    *("mouthLowerDown", "mouthPress", "mouthSmile", "mouthStretch", "mouthUpperUp", "noseSneer"),
}


@dataclass
class Expression:
    """Facial actions of one image.

    Attributes
    ----------
    label : str
        One of `CLASSES`.
    intensity : float
        0..1: of the class's expression; for neutral, of the small movements.
    weights : dict of str to float
        Targets of the head.
    gaze : tuple of float
        Yaw and pitch of the eyes against the head, radians.
    """

    label: str
    intensity: float
    weights: dict[str, float]
    gaze: tuple[float, float]

    def strength(self, action: str) -> float:
        """Intensity of an action; mean of left and right for a paired one."""
        if action in _PAIRED:
            return 0.5 * (self.strength(action + "Left") + self.strength(action + "Right"))
        return self.weights.get("action/" + action, 0.0)


class _Actions:
    """Facial actions as they are drawn, one after the other."""

    def __init__(self, random: Random) -> None:
        self.random, self.weights = random, dict[str, float]()
        self._one_sided = 0.35 if random.chance(0.12) else 0.1

    def _add(self, target: str, value: float) -> None:
        self.weights[target] = self.weights.get(target, 0.0) + value

    def act(self, action: str, value: float, asymmetry: float = 1.0) -> None:
        """Add an action; the two sides of a paired one differ a little, in proportion to `asymmetry`."""
        paired = action in _PAIRED
        for name in (action + "Left", action + "Right") if paired else (action,):
            noise = self.random.normal(0, self._one_sided * asymmetry) if paired else 0.0
            self._add("action/" + name, max(value * (1 + noise), 0.0))

    def between(self, action: str, low: float, high: float, asymmetry: float = 1.0) -> None:
        """Add an action with a strength in low..high."""
        self.act(action, self.random.uniform(low, high), asymmetry)

    def sometimes(
        self, probability: float, action: str, low: float, high: float, asymmetry: float = 1.0
    ) -> None:
        """Add an action with a strength in low..high, with the given probability."""
        value = self.random.uniform(low, high)
        if self.random.chance(probability):
            self.act(action, value, asymmetry)

    def lids(self, likely: dict[str, float], moves: dict[str, tuple[str, float, float, float]]) -> None:
        """Pick what the lids do: at rest, or one of the moves, each the arguments of `between`."""
        picked = self.random.pick(likely)
        if picked in moves:
            self.between(*moves[picked])

    def lift_brows(self, value: float) -> None:
        """Raise the whole brow; MakeHuman's unit lifts it higher than the two ARKit actions."""
        style = self.random.pick(dict.fromkeys(("african", "asian", "caucasian"), 1))
        for side in ("left", "right"):
            self._add(f"unit/{style}/eyebrows-{side}-up", value * (1 + self.random.normal(0, 0.1)))


def sample_expression(random: Random, label: str, person: Identity) -> Expression:
    """Sample the facial actions of a class.

    Raises
    ------
    UsageError
        If the class is unknown.
    """
    if label not in CLASSES:
        raise UsageError(f"unknown class '{label}'; the faces show {', '.join(CLASSES)}")
    face = _Actions(random)
    # Small movements every living face has, whatever the class.
    for action in ("jawLeft", "jawRight", "mouthLeft", "mouthRight", "jawForward"):
        face.sometimes(0.2, action, 0.0, 0.14)
    for action in ("mouthDimple", "mouthShrugUpper", "mouthPucker", "mouthStretch", "noseSneer", "cheekPuff"):
        face.sometimes(0.15, action, 0.0, 0.2)
    intensity = random.uniform()
    if label == "neutral":
        _neutral(face, intensity)
    elif label == "happy":
        _happy(face, intensity, person.smile_teeth)
    else:
        _surprise(face, intensity)
    gaze = (random.normal(0, 0.16), random.normal(-0.02, 0.09))
    return Expression(label, intensity, face.weights, gaze)


def _neutral(face: _Actions, intensity: float) -> None:
    for action in ("mouthPress", "mouthShrugLower", "mouthRollLower", "mouthRollUpper", "mouthPucker"):
        face.sometimes(0.3, action, 0.0, 0.45 * intensity)
    face.sometimes(0.35, "mouthFrown", 0.0, 0.5 * intensity)
    face.sometimes(0.3, "mouthSmile", 0.0, 0.22 * intensity, 2.0)
    face.sometimes(0.4, "browDown", 0.0, 0.8 * intensity)
    face.sometimes(0.3, "browInnerUp", 0.0, 0.6 * intensity)
    face.sometimes(0.35, "browOuterUp", 0.0, 0.7 * intensity, 1.5)
    face.sometimes(0.4, "eyeSquint", 0.0, 0.8 * intensity)
    face.sometimes(0.15, "mouthFunnel", 0.0, 0.3 * intensity)
    if face.random.chance(0.18):  # parted lips
        face.between("jawOpen", 0.02, 0.06 + 0.16 * intensity)
        face.sometimes(0.4, "mouthUpperUp", 0.0, 0.3)
        face.sometimes(0.3, "mouthLowerDown", 0.0, 0.3)
    face.lids(
        {"rest": 0.42, "low": 0.28, "wide": 0.23, "closed": 0.07},
        {
            "low": ("eyeBlink", 0.05, 0.45, 0.4),
            "wide": ("eyeWide", 0.1, 0.7, 0.4),
            "closed": ("eyeBlink", 0.6, 1.0, 0.3),
        },
    )


def _happy(face: _Actions, intensity: float, teeth: float) -> None:
    uniform = face.random.uniform
    kind = face.random.pick({"closed": 0.3 - 0.26 * teeth, "teeth": 0.62, "laugh": 0.22})
    closed = uniform(0.35, 0.9)
    smile = closed if kind == "closed" else 0.6 + 0.55 * intensity
    face.act("mouthSmile", smile)
    face.act("cheekSquint", smile * uniform(0.3, 1.1))
    face.sometimes(0.75, "eyeSquint", 0.1, 0.9)
    face.sometimes(0.5, "mouthDimple", 0.0, 0.5)
    face.sometimes(0.6, "mouthStretch", 0.0, 0.7)
    if kind == "closed":
        face.sometimes(0.5, "mouthPress", 0.0, 0.4)
        face.sometimes(0.4, "jawOpen", 0.0, 0.05)
    elif kind == "teeth":
        face.between("mouthUpperUp", 0.45, 1.15, 0.6)
        face.between("mouthLowerDown", 0.35, 1.15, 0.6)
        face.between("jawOpen", 0.04, 0.26)
    else:
        face.between("mouthUpperUp", 0.45, 1.1, 0.6)
        face.between("mouthLowerDown", 0.3, 1.0, 0.6)
        face.between("jawOpen", 0.25, 0.8)
        face.sometimes(0.4, "noseSneer", 0.0, 0.5)
    face.sometimes(0.25, "browOuterUp", 0.0, 0.6)
    face.sometimes(0.25, "browInnerUp", 0.0, 0.6)
    face.sometimes(0.15, "browDown", 0.0, 0.4)
    face.lids(
        {"rest": 0.62, "low": 0.12, "wide": 0.14, "closed": 0.12},
        {
            "low": ("eyeBlink", 0.1, 0.4, 0.3),
            "wide": ("eyeWide", 0.1, 0.6, 0.4),
            "closed": ("eyeBlink", 0.5, 1.0, 0.3),
        },
    )


def _surprise(face: _Actions, intensity: float) -> None:
    uniform = face.random.uniform
    raised = (0.6 + 0.8 * intensity) * uniform(0.85, 1.25)
    face.act("browInnerUp", raised * uniform(0.7, 1.1))
    face.act("browOuterUp", raised * uniform(0.6, 1.1), 1.5)
    if face.random.chance(0.6):
        face.lift_brows(raised * uniform(0.0, 0.7))
    face.act("eyeWide", (0.5 + 0.8 * intensity) * uniform(0.6, 1.3), 0.5)
    kind = face.random.pick({"round": 0.45, "drop": 0.34, "delighted": 0.12, "closed": 0.09})
    if kind == "round":
        face.between("jawOpen", 0.22, 1.0)
        face.between("mouthFunnel", 0.1, 0.85)
        face.sometimes(0.5, "mouthPucker", 0.0, 0.5)
    elif kind == "drop":
        face.between("jawOpen", 0.5, 1.35)
        face.sometimes(0.4, "mouthStretch", 0.0, 0.6)
        face.sometimes(0.4, "mouthLowerDown", 0.0, 0.5)
        face.sometimes(0.3, "mouthUpperUp", 0.0, 0.4)
        face.sometimes(0.2, "mouthFrown", 0.0, 0.4)
    elif kind == "delighted":
        face.between("jawOpen", 0.35, 1.0)
        face.between("mouthSmile", 0.15, 0.5)
        face.between("mouthUpperUp", 0.1, 0.6)
    else:
        face.sometimes(0.7, "jawOpen", 0.0, 0.15)
        face.sometimes(0.4, "mouthPucker", 0.0, 0.5)
        face.sometimes(0.3, "mouthFrown", 0.0, 0.4)
        face.sometimes(0.3, "mouthPress", 0.0, 0.4)
