"""The table of settings."""

import ast
import collections
import inspect

from rar_tf import config


def test_no_setting_is_defined_twice():
    # A dataclass silently takes the last of two fields of one name.
    body = ast.parse(inspect.getsource(config.Settings)).body[0].body
    names = collections.Counter(node.target.id for node in body if isinstance(node, ast.AnnAssign))
    assert max(names.values()) == 1, names.most_common(1)


def test_every_setting_explains_itself():
    for name, field in config.FIELDS.items():
        assert len(field.metadata["help"]) > 5, name
