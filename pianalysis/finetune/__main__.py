"""`python -m pianalysis.finetune` is what torchrun starts on every GPU."""

import sys

from pianalysis.commands.finetune import main

sys.exit(main())
