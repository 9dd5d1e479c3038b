package e2e_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// patience is how long anything may take before a script fails.
const patience = 60 * time.Second

// servers is the key of a script's servers by name.
type servers struct{}

// running is a server's process.
type running struct {
	cmd  *exec.Cmd
	log  *logFile
	done chan struct{}
	err  error
}

// logFile keeps what a server says: in memory for the commands, and in a file that `nowhere` finds.
type logFile struct {
	mu   sync.Mutex
	text bytes.Buffer
	file *os.File
}

func (l *logFile) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(p)
	return l.file.Write(p)
}

func (l *logFile) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

var ready = regexp.MustCompile(`"msg":"ready","url":"([^"]+)"`)

// serve starts a server and waits until it is ready.
func serve(ts *testscript.TestScript, neg bool, args []string) {
	terminal := len(args) > 0 && args[0] == "-terminal"
	if terminal {
		args = args[1:]
	}
	if neg || len(args) < 1 {
		ts.Fatalf("usage: serve [-terminal] NAME [FLAG...]")
	}
	data := ts.MkAbs(args[0])
	file, err := os.OpenFile(data+".log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	ts.Check(err)
	r := &running{log: &logFile{file: file}, done: make(chan struct{})}
	command := append([]string{filepath.Join(bin, "gantry"), "serve", "--data", data, "--listen", "127.0.0.1:0"}, args[1:]...)
	if terminal {
		command = []string{"script", "-qec", strings.Join(command, " "), "/dev/null"}
	}
	r.cmd = exec.Command(command[0], command[1:]...)
	r.cmd.Dir, r.cmd.Stderr, r.cmd.Stdout = ts.MkAbs("."), r.log, r.log
	r.cmd.Env = []string{"PATH=" + ts.Getenv("PATH"), "HOME=" + ts.Getenv("HOME"), "TMPDIR=" + ts.Getenv("TMPDIR")}
	ts.Check(r.cmd.Start())
	go func() {
		r.err = r.cmd.Wait()
		_ = file.Close() // everything is in it
		close(r.done)
	}()
	ts.Value(servers{}).(map[string]*running)[args[0]] = r
	ts.Defer(r.kill)
	found := waitFor(func() []string { return ready.FindStringSubmatch(r.log.String()) }, r.done)
	if found == nil {
		ts.Fatalf("the server isn't ready:\n%s", r.log)
	}
	ts.Setenv("URL", found[1])
	var first struct {
		Token string `json:"token"`
		OrgID string `json:"org_id"`
	}
	text, err := os.ReadFile(filepath.Join(data, "initial-admin.json"))
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	ts.Check(err)
	ts.Check(json.Unmarshal(text, &first))
	ts.Setenv("KEY", first.Token)
	ts.Setenv("ORG", first.OrgID)
}

// waitFor asks until it gets an answer, patience is over or the process is.
func waitFor(ask func() []string, done <-chan struct{}) []string {
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if got := ask(); got != nil {
			return got
		}
		select {
		case <-done:
			return ask()
		case <-time.After(10 * time.Millisecond):
		}
	}
	return nil
}

// kill ends a server that a script left running.
func (r *running) kill() {
	select {
	case <-r.done:
	default:
		_ = r.cmd.Process.Kill()
		<-r.done
	}
}

// terminate asks a server to stop and looks what is left.
func terminate(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: terminate NAME")
	}
	r := find(ts, args[0])
	family := descendants(r.cmd.Process.Pid)
	ts.Check(r.cmd.Process.Signal(syscall.SIGTERM))
	select {
	case <-r.done:
	case <-time.After(patience):
		ts.Fatalf("the server doesn't stop:\n%s", r.log)
	}
	if r.err != nil {
		ts.Fatalf("the server ends with %v:\n%s", r.err, r.log)
	}
	ts.Logf("%d processes were below it", len(family))
	gone := waitFor(func() []string {
		for _, p := range family {
			if p.alive() {
				return nil
			}
		}
		return []string{"gone"}
	}, nil)
	if gone == nil {
		ts.Fatalf("processes of the server are left: %v", family)
	}
}

func find(ts *testscript.TestScript, name string) *running {
	r := ts.Value(servers{}).(map[string]*running)[name]
	if r == nil {
		ts.Fatalf("no server %s was started", name)
	}
	return r
}

// logs looks for a line in a server's log, waiting for it a while.
func logs(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: [!] logs NAME REGEXP")
	}
	r, re := find(ts, args[0]), regexp.MustCompile(args[1])
	if neg {
		if re.MatchString(r.log.String()) {
			ts.Fatalf("the log has %s:\n%s", args[1], r.log)
		}
		return
	}
	if waitFor(func() []string { return re.FindStringSubmatch(r.log.String()) }, r.done) == nil {
		ts.Fatalf("the log hasn't %s:\n%s", args[1], r.log)
	}
}

// process is one process, told from a later one of the same number by its start.
type process struct {
	pid   int
	start string
	name  string
}

func (p process) String() string { return fmt.Sprintf("%d (%s)", p.pid, p.name) }

func (p process) alive() bool {
	now, _, ok := stat(p.pid)
	return ok && now.start == p.start
}

// stat reads a process and its parent; a zombie counts as gone.
func stat(pid int) (p process, parent int, ok bool) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return p, 0, false
	}
	name, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	const started = 19 // field 22, counted after the name
	if len(fields) <= started || fields[0] == "Z" {
		return p, 0, false
	}
	parent, err = strconv.Atoi(fields[1])
	return process{pid, fields[started], name[strings.IndexByte(name, '(')+1:]}, parent, err == nil
}

// descendants gives all processes below one.
func descendants(root int) []process {
	entries, _ := os.ReadDir("/proc") // without it there are none to be seen
	below, all := map[int][]process{}, []process{}
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			if p, parent, ok := stat(pid); ok {
				below[parent] = append(below[parent], p)
			}
		}
	}
	for queue := []int{root}; len(queue) > 0; queue = queue[1:] {
		for _, p := range below[queue[0]] {
			all, queue = append(all, p), append(queue, p.pid)
		}
	}
	return all
}
