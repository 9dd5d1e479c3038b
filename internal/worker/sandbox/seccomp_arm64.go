package sandbox

import "golang.org/x/sys/unix"

const auditArch = unix.AUDIT_ARCH_AARCH64

// refusedHere are dangerous calls that only this machine has.
var refusedHere []uint32
