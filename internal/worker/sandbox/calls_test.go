package sandbox

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// tryCalls makes system calls that the filter refuses and prints the name of each that was not.
func tryCalls() int {
	call := func(nr uintptr, args ...uintptr) error {
		var a [6]uintptr
		copy(a[:], args)
		if _, _, e := unix.RawSyscall6(nr, a[0], a[1], a[2], a[3], a[4], a[5]); e != 0 {
			return e
		}
		return nil
	}
	one := byte('x')
	tries := []struct {
		name string
		want error
		err  error
	}{
		{"unshare user", unix.EPERM, call(unix.SYS_UNSHARE, unix.CLONE_NEWUSER)},
		{"clone user", unix.EPERM, call(unix.SYS_CLONE, unix.CLONE_NEWUSER|uintptr(unix.SIGCHLD))},
		{"clone3", unix.ENOSYS, call(unix.SYS_CLONE3)},
		{"mount", unix.EPERM, call(unix.SYS_MOUNT)},
		{"keyctl", unix.EPERM, call(unix.SYS_KEYCTL)},
		{"bpf", unix.EPERM, call(unix.SYS_BPF)},
		{"perf", unix.EPERM, call(unix.SYS_PERF_EVENT_OPEN)},
		{"userfaultfd", unix.EPERM, call(unix.SYS_USERFAULTFD)},
		{"io_uring", unix.EPERM, call(unix.SYS_IO_URING_SETUP)},
		{"open_by_handle", unix.EPERM, call(unix.SYS_OPEN_BY_HANDLE_AT)},
		{"kexec", unix.EPERM, call(unix.SYS_KEXEC_LOAD)},
		{"setns", unix.EPERM, call(unix.SYS_SETNS)},
		{"vsock", unix.EAFNOSUPPORT, call(unix.SYS_SOCKET, unix.AF_VSOCK, unix.SOCK_STREAM)},
		{"alg", unix.EAFNOSUPPORT, call(unix.SYS_SOCKET, unix.AF_ALG, unix.SOCK_SEQPACKET)},
		{"tiocsti", unix.EPERM, call(unix.SYS_IOCTL, 0, unix.TIOCSTI, uintptr(unsafe.Pointer(&one)))},
		{"x32", unix.ENOSYS, call(0x40000000 + 39)},
		{"socket", nil, call(unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_STREAM)},
		{"getpid", nil, call(unix.SYS_GETPID)},
		{"winsize", unix.ENOTTY, call(unix.SYS_IOCTL, 0, unix.TIOCGWINSZ, uintptr(unsafe.Pointer(&one)))},
	}
	for _, c := range tries {
		if !errors.Is(c.err, c.want) {
			fmt.Printf("%s: %v, not %v\n", c.name, c.err, c.want)
		}
	}
	fmt.Println("done")
	return 0
}
