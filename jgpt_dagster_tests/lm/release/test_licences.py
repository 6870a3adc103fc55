import pytest

from jgpt_dagster.lm.release.licences import NOT_STATED, ModelLicence, model_licence


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ({"cc-by-sa-4.0"}, ("cc-by-sa-4.0", None)),
        ({"cc-by-4.0"}, ("cc-by-4.0", None)),
        ({"cc-by-4.0", "cc0-1.0", "cc-by-sa-4.0"}, ("cc-by-sa-4.0", None)),
        ({"cc-by-4.0", "cc0-1.0"}, ("cc-by-4.0", None)),
        ({"mit"}, ("mit", None)),
        ({"cc-by-sa-4.0", "cc-by-nc-4.0"}, ("other", "cc-by-nc-4.0-and-cc-by-sa-4.0")),
        ({"cc-by-sa-4.0", NOT_STATED}, ("other", "cc-by-sa-4.0-and-not-stated")),
        ({"our-own (2025)"}, ("other", "our-own-2025-")),
        (set(), ("other", NOT_STATED)),
    ],
)
def test_the_licence_of_a_model_follows_from_those_of_its_text(
    texts: set[str], expected: tuple[str, str | None]
) -> None:
    assert model_licence(texts) == ModelLicence(*expected)
