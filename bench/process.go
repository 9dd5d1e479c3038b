package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"gantry/internal/platform/clock"
)

// child is a process that the bench started.
type child struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	out   *bufio.Reader
	ended chan struct{}
	err   error
}

// start runs a program. What it logs goes to a file of its own name; stdout is read by whoever started it.
func (b *bench) start(ctx context.Context, name, path string, args ...string) (*child, error) {
	log, err := os.OpenFile(filepath.Join(b.dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }() // the child has its own
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir, cmd.Stderr, cmd.Env = b.dir, log, cleanEnv()
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = time.Minute
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	c := &child{cmd: cmd, ended: make(chan struct{})}
	if c.stdin, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdout, c.out = w, bufio.NewReader(r)
	err = cmd.Start()
	_ = w.Close() // the child has its own
	if err != nil {
		return nil, err
	}
	go func() {
		defer close(c.ended)
		c.err = cmd.Wait()
	}()
	return c, nil
}

// cleanEnv keeps settings of the caller's own Gantry out.
func cleanEnv() []string {
	var env []string
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "GANTRY_") && !strings.HasPrefix(e, "DEVIN_") {
			env = append(env, e)
		}
	}
	return env
}

func (c *child) pid() int { return c.cmd.Process.Pid }

// stop ends the process in order and waits for it.
func (c *child) stop() error {
	_ = c.stdin.Close() // may be closed already
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	<-c.ended
	return c.err
}

// kill ends a process whose end is of no interest.
func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	<-c.ended
}

// inner starts a part of this program, hands it its task and gives the first line of what it says.
func (b *bench) inner(ctx context.Context, part string, task any) (*child, string, error) {
	c, err := b.start(ctx, part, b.self, part)
	if err != nil {
		return nil, "", err
	}
	text, err := json.Marshal(task)
	if err != nil {
		return nil, "", err
	}
	if _, err := c.stdin.Write(append(text, '\n')); err != nil {
		c.kill()
		return nil, "", fmt.Errorf("%s: %w", part, err)
	}
	line, err := c.out.ReadString('\n')
	if err != nil {
		c.kill()
		return nil, "", fmt.Errorf("%s said nothing: %w: %s", part, err, b.lastWords(part))
	}
	return c, strings.TrimSpace(line), nil
}

// ask runs a part of this program to its end and decodes its answer.
func (b *bench) ask(ctx context.Context, part string, task, answer any) error {
	c, line, err := b.inner(ctx, part, task)
	if err != nil {
		return err
	}
	if err := c.stop(); err != nil && !errors.As(err, new(*exec.ExitError)) {
		return err
	}
	return json.Unmarshal([]byte(line), answer)
}

// task reads what the starter of this part wants, and answer tells it.
func task(into any) error { return json.NewDecoder(os.Stdin).Decode(into) }

func answer(v any) error { return json.NewEncoder(os.Stdout).Encode(v) }

// lastWords are the last lines of a part's log.
func (b *bench) lastWords(name string) string {
	text, err := os.ReadFile(filepath.Join(b.dir, name+".log"))
	if err != nil {
		return ""
	}
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	return string(bytes.Join(lines[max(0, len(lines)-5):], []byte("\n")))
}

// memory is what a process holds, in bytes. PSS counts shared pages by their share, RSS in full.
type memory struct{ pss, rss float64 }

func memoryOf(pids ...int) (memory, error) {
	var m memory
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			return m, err
		}
		for line := range strings.Lines(string(text)) {
			f := strings.Fields(line)
			if len(f) < 2 || f[0] != "Pss:" && f[0] != "Rss:" {
				continue
			}
			kb, err := strconv.ParseFloat(f[1], 64)
			if err != nil {
				return m, err
			}
			if f[0] == "Pss:" {
				m.pss += kb * 1024
			} else {
				m.rss += kb * 1024
			}
		}
	}
	return m, nil
}

// cpuOf is the processor time of a process so far.
func cpuOf(pid int) time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(text), ") ") // the name may hold spaces
	f := strings.Fields(rest)
	if len(f) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(f[11], 10, 64)
	system, _ := strconv.ParseInt(f[12], 10, 64)
	const tick = 10 * time.Millisecond // USER_HZ is 100 on every Linux
	return time.Duration(user+system) * tick
}

// workerOf finds the embedded worker that a server started.
func workerOf(ctx context.Context, pid int) (int, error) {
	for range 500 {
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
		if err != nil {
			return 0, err
		}
		for _, t := range tasks {
			children, _ := os.ReadFile(t) // a thread may be gone
			for f := range strings.FieldsSeq(string(children)) {
				if command, _ := os.ReadFile("/proc/" + f + "/cmdline"); strings.Contains(string(command), "\x00--embedded\x00") {
					return strconv.Atoi(f)
				}
			}
		}
		if !clock.Sleep(ctx, 10*time.Millisecond) {
			break
		}
	}
	return 0, fmt.Errorf("process %d started no worker", pid)
}

func mib(bytes float64) string { return fmt.Sprintf("%.1f MiB", bytes/(1<<20)) }
func kib(bytes float64) string { return fmt.Sprintf("%.1f KiB", bytes/(1<<10)) }
func millis(ms float64) string { return fmt.Sprintf("%.1f ms", ms) }
func perSec(n float64) string  { return fmt.Sprintf("%.0f/s", n) }

func each(v []float64, unit func(float64) string) string { return unit(median(v)) }
