package sandbox

import (
	"bytes"
	"encoding/binary"
	"sync"

	"golang.org/x/sys/unix"
)

// The classic BPF instructions the filter is made of, and offsets into the kernel's struct seccomp_data.
const (
	bpfLoad    = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
	bpfEqual   = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
	bpfAtLeast = unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K
	bpfAnySet  = unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K
	bpfReturn  = unix.BPF_RET | unix.BPF_K

	offNumber = 0
	offArch   = 4
	offArgs   = 16 // eight bytes each; the low half first on the little-endian machines we know
)

const (
	retAllow = 0x7fff0000 // SECCOMP_RET_ALLOW
	retErrno = 0x00050000 // SECCOMP_RET_ERRNO, with the error in the low half
)

// x32Bit marks the calls of the x32 ABI, a second door to the same kernel on amd64.
const x32Bit = 0x40000000

// refusedCalls answer EPERM: they change the machine, reach around the namespaces, or have long been a way to break the kernel.
// Most need capabilities that nobody inside has; the filter is the second lock.
var refusedCalls = []uint32{
	unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_PIVOT_ROOT, unix.SYS_MOVE_MOUNT, unix.SYS_OPEN_TREE, unix.SYS_FSOPEN,
	unix.SYS_FSCONFIG, unix.SYS_FSMOUNT, unix.SYS_FSPICK, unix.SYS_MOUNT_SETATTR, unix.SYS_CHROOT, unix.SYS_SETNS,
	unix.SYS_SWAPON, unix.SYS_SWAPOFF, unix.SYS_REBOOT, unix.SYS_KEXEC_LOAD, unix.SYS_KEXEC_FILE_LOAD,
	unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_DELETE_MODULE, unix.SYS_ACCT, unix.SYS_QUOTACTL, unix.SYS_QUOTACTL_FD,
	unix.SYS_SETTIMEOFDAY, unix.SYS_CLOCK_SETTIME, unix.SYS_CLOCK_ADJTIME, unix.SYS_ADJTIMEX, unix.SYS_SETHOSTNAME,
	unix.SYS_SETDOMAINNAME, unix.SYS_SYSLOG, unix.SYS_VHANGUP,
	unix.SYS_KEYCTL, unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY, unix.SYS_BPF, unix.SYS_PERF_EVENT_OPEN, unix.SYS_USERFAULTFD,
	unix.SYS_OPEN_BY_HANDLE_AT, unix.SYS_NAME_TO_HANDLE_AT, unix.SYS_LOOKUP_DCOOKIE, unix.SYS_NFSSERVCTL,
	unix.SYS_FANOTIFY_INIT, unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER,
}

// allowedFamilies are the sockets there are. Of the others, vsock would reach past the network namespace to a hypervisor.
var allowedFamilies = []uint32{unix.AF_UNIX, unix.AF_INET, unix.AF_INET6, unix.AF_NETLINK}

// newNamespace are the flags of clone and unshare that make a namespace. Inside a user namespace of its own a program would have
// every capability again, and with it the kernel's whole surface.
const newNamespace = unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC |
	unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP

var seccompFilter = sync.OnceValue(func() []byte {
	errno := func(e uint32) uint32 { return retErrno | e }
	p := []unix.SockFilter{
		{Code: bpfLoad, K: offArch},
		{Code: bpfEqual, K: auditArch, Jt: 1},
		{Code: bpfReturn, K: errno(uint32(unix.ENOSYS))}, // a 32-bit program's calls have other numbers
		{Code: bpfLoad, K: offNumber},
		{Code: bpfAtLeast, K: x32Bit, Jf: 1},
		{Code: bpfReturn, K: errno(uint32(unix.ENOSYS))},
	}
	refuse := func(nr, e uint32) {
		p = append(p, unix.SockFilter{Code: bpfEqual, K: nr, Jf: 1}, unix.SockFilter{Code: bpfReturn, K: errno(e)})
	}
	for _, nr := range append(refusedCalls, refusedHere...) {
		refuse(nr, uint32(unix.EPERM))
	}
	// clone3 keeps its flags in memory, where a filter can't see them. The C library falls back to clone.
	refuse(unix.SYS_CLONE3, uint32(unix.ENOSYS))
	for _, nr := range []uint32{unix.SYS_CLONE, unix.SYS_UNSHARE} {
		p = append(p,
			unix.SockFilter{Code: bpfEqual, K: nr, Jf: 4},
			unix.SockFilter{Code: bpfLoad, K: offArgs},
			unix.SockFilter{Code: bpfAnySet, K: newNamespace, Jf: 1},
			unix.SockFilter{Code: bpfReturn, K: errno(uint32(unix.EPERM))},
			unix.SockFilter{Code: bpfReturn, K: retAllow})
	}
	// Both put input into a terminal that somebody else reads.
	p = append(p,
		unix.SockFilter{Code: bpfEqual, K: unix.SYS_IOCTL, Jf: 5},
		unix.SockFilter{Code: bpfLoad, K: offArgs + 8},
		unix.SockFilter{Code: bpfEqual, K: unix.TIOCSTI, Jt: 1},
		unix.SockFilter{Code: bpfEqual, K: unix.TIOCLINUX, Jf: 1},
		unix.SockFilter{Code: bpfReturn, K: errno(uint32(unix.EPERM))},
		unix.SockFilter{Code: bpfReturn, K: retAllow})
	n := uint8(len(allowedFamilies))
	p = append(p,
		unix.SockFilter{Code: bpfEqual, K: unix.SYS_SOCKET, Jf: n + 2},
		unix.SockFilter{Code: bpfLoad, K: offArgs})
	for i, f := range allowedFamilies {
		p = append(p, unix.SockFilter{Code: bpfEqual, K: f, Jt: n - uint8(i)})
	}
	p = append(p,
		unix.SockFilter{Code: bpfReturn, K: errno(uint32(unix.EAFNOSUPPORT))},
		unix.SockFilter{Code: bpfReturn, K: retAllow})
	var out bytes.Buffer
	_ = binary.Write(&out, binary.NativeEndian, p) // a buffer takes everything
	return out.Bytes()
})
