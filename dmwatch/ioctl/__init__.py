"""The kernel interface of device-mapper: bytes in, bytes out. Standard library only.

abi        commands, flags, sizes, the lowest version that each command needs
header     struct dm_ioctl
payload    what follows it: target specs, name list, dependencies, versions, messages
control    the open control node, and the only ioctl(2) call
exchange   one command from request to reply: growing buffers, interrupted calls
"""
