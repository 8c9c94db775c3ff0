"""Steps of a client's program: each prints one line, and the program fails when one of them did.

`step NAME: ok`, `step NAME: FAILED WHY` or, where the client itself cannot, `step NAME: not with this
client: WHY`. A line `seen NAME: VALUE` is something that the run against a real dockerd compares.
"""

import json
import pathlib
import signal
import sys
import traceback


#: No step takes longer; one that does hangs.
STEP_SECONDS = 90


class Unable(Exception):
    """The client cannot do this, whatever the daemon."""


class Steps:
    """Collects steps by decorator and runs them in their order."""

    def __init__(self):
        self.steps = []

    def __call__(self, function):
        self.steps.append(function)
        return function

    def run(self, *arguments):
        """Runs every step and ends the program with status 1 when one failed."""
        failed = False
        signal.signal(signal.SIGALRM, overdue)
        for function in self.steps:
            name = function.__name__
            signal.alarm(STEP_SECONDS)
            try:
                function(*arguments)
                print(f"step {name}: ok", flush=True)
            except Unable as why:
                print(f"step {name}: not with this client: {why}", flush=True)
            except Exception as error:  # pylint: disable=broad-except
                failed = True
                text = " ".join(str(error).split()) or type(error).__name__
                print(f"step {name}: FAILED {text}", flush=True)
                traceback.print_exc()
        sys.exit(1 if failed else 0)


def overdue(*_):
    """Ends a step that hangs."""
    raise TimeoutError(f"it did not end within {STEP_SECONDS} s")


def seen(name, value):
    """Reports what a comparison with another daemon is to look at."""
    print(f"seen {name}: {value}", flush=True)


def guest(os_type):
    """Names and commands of the guests of a daemon, `windows` or `linux`."""
    path = pathlib.Path(__file__).with_name("guests.json")
    return json.loads(path.read_text(encoding="utf-8"))[os_type]


def expect(condition, what):
    """Fails the step unless the condition holds; `what` is what was there instead."""
    if not condition:
        raise AssertionError(f"not as expected: {what!r}")
