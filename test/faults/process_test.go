package faults

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gantry/internal/platform/clock"
)

const (
	soon    = 20 * time.Second // for what takes a moment on an idle machine
	patient = 90 * time.Second // for what waits for a lease or a whole session
	tick    = 50 * time.Millisecond
)

// live is the machine's clock.
var live clock.Clock

func sleep(t *testing.T, d time.Duration) {
	t.Helper()
	require.True(t, clock.Sleep(t.Context(), d))
}

// process is a child that goes with the test at the latest. Its output is shown when the test fails.
type process struct {
	cmd  *exec.Cmd
	log  string
	done chan struct{}
}

var started atomic.Int64

// launch starts the program under test.
func launch(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	p := &process{log: filepath.Join(t.TempDir(), fmt.Sprintf("%s-%d.log", args[0], started.Add(1))), done: make(chan struct{})}
	out, err := os.Create(p.log)
	require.NoError(t, err)
	p.cmd = exec.Command(gantry, args...)
	p.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "GANTRY_LOG_FORMAT=text"}, env...)
	p.cmd.Stdout, p.cmd.Stderr = out, out
	// A signal at the terminal is the test's to deal with.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	require.NoError(t, p.cmd.Start())
	require.NoError(t, out.Close())
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait() // how it ended is in ProcessState
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("output of gantry %s:\n%s", strings.Join(args[:2], " "), tail([]byte(p.said()), 12_000))
		}
	})
	return p
}

// said is what it logged, without the requests that went well.
func (p *process) said() string {
	text, _ := os.ReadFile(p.log)
	var b strings.Builder
	for line := range strings.Lines(string(text)) {
		if !strings.Contains(line, "msg=request ") || strings.Contains(line, " status=5") {
			b.WriteString(line)
		}
	}
	return b.String()
}

func tail(text []byte, n int) []byte { return text[max(0, len(text)-n):] }

// kill ends it the hard way and waits until it is gone.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended already
	<-p.done
}

// stop asks it to end and gives its exit code.
func (p *process) stop(t *testing.T) int {
	t.Helper()
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	select {
	case <-p.done:
	case <-time.After(patient):
		require.FailNow(t, "the process doesn't end after SIGTERM")
	}
	return p.cmd.ProcessState.ExitCode()
}

func (p *process) alive() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// command runs the program under test to its end and gives its standard output.
func command(t *testing.T, args ...string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	out, err := exec.CommandContext(ctx, gantry, args...).Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		require.NoError(t, err, "gantry %v: %s", args, exit.Stderr)
	}
	require.NoError(t, err)
	return out
}

// freePort gives a port below those that the kernel gives to outgoing connections: nothing takes it while its server is down.
func freePort(t *testing.T) int {
	t.Helper()
	for range 200 {
		port := 15_000 + int(nextPort.Add(1)+int64(os.Getpid()%900)*17)%15_000
		l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
		if err != nil {
			continue
		}
		require.NoError(t, l.Close())
		return port
	}
	require.FailNow(t, "no free port")
	return 0
}

var nextPort atomic.Int64

// marker makes an argument for sleep that no other process has, so that a sandbox's process can be found from outside.
func marker() string { return fmt.Sprintf("86%d.%d", 1000+os.Getpid()%9000, started.Add(1)) }

// running lists the live processes of the machine whose command line holds a text.
func running(text string) []int {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	var pids []int
	for _, d := range dirs {
		line, err := os.ReadFile(d + "/cmdline") // empty for a zombie
		if err == nil && bytes.Contains(line, []byte(text)) {
			pid, _ := strconv.Atoi(filepath.Base(d))
			pids = append(pids, pid)
		}
	}
	return pids
}

func awaitRunning(t *testing.T, text string) {
	t.Helper()
	require.Eventually(t, func() bool { return len(running(text)) > 0 }, patient, tick, "no process with %s", text)
}

func awaitGone(t *testing.T, text string, limit time.Duration) {
	t.Helper()
	require.Eventually(t, func() bool { return len(running(text)) == 0 }, limit, tick, "processes with %s live on", text)
}
