# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Brings the schema of the runs, then that of the users, to this MLflow's version. Safe to repeat.

In this order: with both in one database the second, made first, breaks the first. URIs come by the environment, so none is in argv.
"""

import os

from mlflow.db import upgrade


def main(env):
    upgrade.callback(env["MLFLOW_BACKEND_STORE_URI"])
    print("the schema of the runs is that of this version")
    if env.get("AUTH_DATABASE_URI"):
        from mlflow.server.auth.db.cli import upgrade as upgrade_users

        upgrade_users.callback(env["AUTH_DATABASE_URI"], "head")
        print("the schema of the users is that of this version")


if __name__ == "__main__":
    main(os.environ)
