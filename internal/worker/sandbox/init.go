package sandbox

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// forwardAddress is where programs inside find the proxy.
const forwardAddress = "127.0.0.1:3128"

// Exit statuses of our own programs inside, as shells use them.
const (
	exitSetup      = 125
	exitNotRunable = 126
	exitNotFound   = 127
)

// runDir is the directory of the worker's sockets as this program sees it.
func runDir() string {
	if d := os.Getenv("GANTRY_RUN"); d != "" {
		return d
	}
	return insideRun
}

// Init is `gantry sandbox-init [--proxy] [--data=BYTES] [--processes=N] -- COMMAND [ARGS...]`, the first program of a sandbox: it
// brings up the way to the proxy, runs the command, hands signals on, reaps orphans and exits with the command's status. It has
// to start fast, so it does nothing else.
func Init(args []string) int {
	opts, command, err := parseInit(args)
	if err == nil {
		err = opts.apply()
	}
	if err != nil {
		return complain(exitSetup, err)
	}
	// What bwrap left open is nothing to the command.
	_ = unix.CloseRange(3, ^uint(0)>>1, unix.CLOSE_RANGE_CLOEXEC)

	path, err := exec.LookPath(command[0])
	if err != nil {
		if errors.Is(err, os.ErrPermission) {
			return complain(exitNotRunable, err)
		}
		return complain(exitNotFound, err)
	}
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2)
	pid, err := syscall.ForkExec(path, command, &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{0, 1, 2}})
	if err != nil {
		return complain(exitNotRunable, fmt.Errorf("%s: %w", command[0], err))
	}
	// Whoever reads our output waits for the command, not for us.
	closeStandard()
	go func() {
		for s := range signals {
			if n, ok := s.(syscall.Signal); ok {
				_ = syscall.Kill(pid, n)
			}
		}
	}()
	return reap(pid)
}

type initOptions struct {
	proxy           bool
	data, processes uint64
}

func parseInit(args []string) (initOptions, []string, error) {
	var o initOptions
	for i, a := range args {
		var err error
		name, value, _ := strings.Cut(a, "=")
		switch name {
		case "--":
			if i+1 == len(args) {
				return o, nil, errors.New("no command")
			}
			return o, args[i+1:], nil
		case "--proxy":
			o.proxy = true
		case "--data":
			o.data, err = strconv.ParseUint(value, 10, 63)
		case "--processes":
			o.processes, err = strconv.ParseUint(value, 10, 31)
		default:
			err = errors.New("not known")
		}
		if err != nil {
			return o, nil, fmt.Errorf("%s: %w", a, err)
		}
	}
	return o, nil, errors.New("no command")
}

func (o initOptions) apply() error {
	if o.proxy {
		ln, err := net.Listen("tcp4", forwardAddress)
		if err != nil {
			return fmt.Errorf("forward to the proxy: %w", err)
		}
		go forward(ln, filepath.Join(runDir(), proxySocket))
	}
	for what, n := range map[int]uint64{unix.RLIMIT_DATA: o.data, unix.RLIMIT_NPROC: o.processes} {
		if n > 0 {
			if err := unix.Setrlimit(what, &unix.Rlimit{Cur: n, Max: n}); err != nil {
				return fmt.Errorf("resource limit: %w", err)
			}
		}
	}
	return nil
}

// reap waits for every child there is until the command has ended.
func reap(pid int) int {
	for {
		var ws syscall.WaitStatus
		got, err := syscall.Wait4(-1, &ws, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return complain(exitSetup, fmt.Errorf("wait: %w", err))
		case got != pid:
		case ws.Signaled():
			return 128 + int(ws.Signal())
		case ws.Exited():
			return ws.ExitStatus()
		}
	}
}

// closeStandard puts the null device in the place of our own input and output; standard error stays for complaints.
func closeStandard() {
	null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	_ = unix.Dup3(null, 0, 0)
	_ = unix.Dup3(null, 1, 0)
	_ = unix.Close(null)
}

func complain(code int, err error) int {
	_, _ = io.WriteString(os.Stderr, "gantry sandbox: "+err.Error()+"\n")
	return code
}

// forward relays every connection to the socket.
func forward(ln net.Listener, socket string) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		go func() {
			up, err := net.Dial("unix", socket)
			if err != nil {
				_ = c.Close()
				return
			}
			relay(c, up)
		}()
	}
}

// closeWriter is a connection that can end one direction, as TCP and unix sockets can.
type closeWriter interface{ CloseWrite() error }

// relay copies both ways until both ends are through, and closes both.
func relay(a, b net.Conn) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		pipe(a, b)
	}()
	pipe(b, a)
	<-done
	_ = a.Close()
	_ = b.Close()
}

func pipe(dst, src net.Conn) {
	if _, err := io.Copy(dst, src); err != nil {
		// One side is broken: the other must not wait for it.
		_ = dst.Close()
		_ = src.Close()
		return
	}
	if c, ok := dst.(closeWriter); ok {
		_ = c.CloseWrite()
	}
}

// Connect is `gantry sandbox-connect HOST PORT`, ssh's ProxyCommand: it asks the proxy for a connection and relays standard input
// and output.
func Connect(args []string) int {
	if len(args) != 2 {
		return complain(exitSetup, errors.New("usage: sandbox-connect HOST PORT"))
	}
	conn, in, err := connectThrough(filepath.Join(runDir(), proxySocket), net.JoinHostPort(args[0], args[1]))
	if err != nil {
		return complain(1, err)
	}
	defer conn.Close()
	go func() {
		_, _ = io.Copy(conn, os.Stdin)
		if c, ok := conn.(closeWriter); ok {
			_ = c.CloseWrite()
		}
	}()
	if _, err := io.Copy(os.Stdout, in); err != nil {
		return complain(1, err)
	}
	return 0
}
