"""The licence of a model, as far as it follows from the licences of the text that it was trained on."""

import re
from collections.abc import Collection
from typing import NamedTuple

NOT_STATED = "not-stated"
"""Stands for the licence of a text of which nobody has said it."""

# Text under each of these may be used in a work under a later one: https://creativecommons.org/faq/, "If I derive or
# adapt material offered under a Creative Commons license, which CC license(s) can I use?"
_TAKEN_INTO = ("cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0")

# What the field `license` may hold: https://huggingface.co/docs/hub/repositories-licenses
_IDENTIFIERS = frozenset(
    """
    afl-3.0 agpl-3.0 apache-2.0 artistic-2.0 bsd bsd-2-clause bsd-3-clause bsl-1.0 cc cc-by-2.0 cc-by-2.5 cc-by-3.0
    cc-by-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0
    cc-by-nc-sa-4.0 cc-by-nd-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc0-1.0 cdla-permissive-1.0 cdla-permissive-2.0
    cdla-sharing-1.0 ecl-2.0 epl-1.0 epl-2.0 eupl-1.1 eupl-1.2 gfdl gpl gpl-2.0 gpl-3.0 isc lgpl lgpl-2.1 lgpl-3.0 mit
    mpl-2.0 ms-pl odbl odc-by openrail osl-3.0 pddl unlicense wtfpl zlib
    """.split()  # noqa: SIM905
)


class ModelLicence(NamedTuple):
    """The fields of a model card: `license`, and for `other` the name under `license_name`."""

    license: str
    license_name: str | None = None


def model_licence(texts: Collection[str]) -> ModelLicence:
    """Return the licence that the licences of the texts leave to a model.

    If all texts have one, it is that; Creative Commons licences that go together give the strictest of them. Any other
    mixture, and text of which no licence is stated, is `other` with all of them named: whoever publishes the model
    decides.
    """
    licences = {*texts} or {NOT_STATED}
    if licences <= {*_TAKEN_INTO}:
        return ModelLicence(max(licences, key=_TAKEN_INTO.index))
    if len(licences) == 1 and licences <= _IDENTIFIERS:
        return ModelLicence(*licences)
    return ModelLicence("other", "-and-".join(re.sub(r"[^\w.+-]+", "-", name) for name in sorted(licences)))
