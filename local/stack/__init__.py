"""The local stack: Azurite, the emulator and the Functions host, started, checked and stopped together.

async with Stack(Path("data")) as stack:
    print(stack.host_url, await stack.user_token("alice"))
"""

from local.stack.credential import IdentityCredential
from local.stack.host import HostOptions
from local.stack.part import StackError
from local.stack.stack import Stack

__all__ = ["HostOptions", "IdentityCredential", "Stack", "StackError"]
