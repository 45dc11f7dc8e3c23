"""`python -m pianalysis` is the command `pianalysis`."""

import sys

from pianalysis.commands.main import main

sys.exit(main())
