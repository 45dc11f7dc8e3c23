"""A pytest plugin: what the packages and a test's module keep is forgotten before each test.

Coverage then sees every test that needs a kept result, not the first one alone.
"""

import sys


def pytest_runtest_setup(item):
    modules = [
        m for n, m in list(sys.modules.items()) if n.startswith(("pianalysis", "paper_repro"))
    ]
    for module in (getattr(item, "module", None), *modules):
        for value in list(vars(module).values()) if module else ():
            if hasattr(value, "cache_clear"):
                value.cache_clear()
