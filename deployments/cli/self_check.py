"""``datasave self-check``: is this the program that was built, with the packages that it was tried with?"""

from __future__ import annotations

from deployments.cli.screen import bad, findings_table, good
from tasks.health.installation import installation, program_folder


def self_check() -> int:
    """Compare the program's files with what was built, and the packages that it uses with its lock file.

    Finds a file that was changed, lost or added, and a package in another version. Needs no plan. Exit
    status 0 if all is as it was built.

    **Examples:**

        datasave self-check
    """
    findings = installation(program_folder())
    findings_table("this installation", findings)
    if any(one.failed for one in findings):
        bad("this installation is not as it was built")
        return 1
    good("nothing is wrong with this installation")
    return 0
