"""The context file, in a process that a variable started with multiprocessing's "spawn" or "forkserver".

Such a process imports the module of each function that it receives. In the process of the variable itself, this
module is never executed: the file's own module is registered in its place (context_file.py).
"""

import os

if "AMORE_CONTEXT_TEXT" not in os.environ:
    raise ImportError("damnit_ctx.executed is the context file being executed, but there is none")

with open(os.environ["AMORE_CONTEXT_TEXT"], encoding="utf-8") as _text:
    __file__ = os.environ["AMORE_CONTEXT_PATH"]
    exec(compile(_text.read(), __file__, "exec", dont_inherit=True))
