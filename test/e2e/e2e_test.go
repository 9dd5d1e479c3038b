// Package e2e drives the real program from outside: each script starts servers, runs commands and looks at what is left.
//
// A script is a .txtar file: commands first, then the files that they use. Besides testscript's own commands there are
//
//	serve [-terminal] NAME [FLAG...]
//	                         start a server on the data directory $WORK/NAME and wait until it is ready; sets $URL, and on the
//	                         first start $KEY and $ORG. With -terminal it sees a terminal, so the key is in its output only
//	terminate NAME           send SIGTERM; the server must exit 0 and leave no process behind
//	exits CODE PROGRAM ...   like exec, with exactly this exit code
//	capture VAR REGEXP       set a variable to the first group found in the last standard output
//	http METHOD TARGET [-k KEY] [-h 'NAME: VALUE'] [-d BODY] [-n EVENTS]
//	                         one plain request; standard output is the status line, the headers and the body; -n ends a stream
//	                         after so many events
//	nowhere TEXT DIR         fail when any file below DIR holds the text
//	logs NAME REGEXP         look for a line in a server's log
//
// and the condition [postgres]: there is a database at $DATABASE.
package e2e_test

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"gantry/internal/platform/db"
	"gantry/internal/platform/db/dbtest"
)

// bin is the directory of the program under test.
var bin string

func TestMain(m *testing.M) {
	flag.Parse()
	if testing.Short() {
		os.Exit(m.Run()) // everything is skipped
	}
	dir, err := os.MkdirTemp("", "gantry-e2e-")
	if err != nil {
		panic(err)
	}
	bin = dir
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "gantry"), "gantry/cmd/gantry")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build gantry: %v\n%s", err, text)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

func TestScripts(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("whole programs take patience")
	}
	for _, tool := range []string{"bwrap", "git", "python3"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s isn't installed", tool)
		}
	}
	agent, err := filepath.Abs("../../internal/worker/acp/testdata/agent.py")
	if err != nil {
		t.Fatal(err)
	}
	var database string
	if os.Getenv(dbtest.EnvPostgres) != "" {
		database = dbtest.URL(t, db.Postgres)
	}
	testscript.Run(t, testscript.Params{
		Dir: ".",
		Condition: func(cond string) (bool, error) {
			if cond != "postgres" {
				return false, fmt.Errorf("unknown condition %s", cond)
			}
			return database != "", nil
		},
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", bin+string(os.PathListSeparator)+e.Getenv("PATH"))
			e.Setenv("HOME", filepath.Join(e.WorkDir, "home"))
			e.Setenv("AGENT", agent)
			e.Setenv("DATABASE", database)
			e.Values[servers{}] = map[string]*running{}
			return os.MkdirAll(filepath.Join(e.WorkDir, "home"), 0o700)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"serve": serve, "terminate": terminate, "exits": exits, "capture": capture, "http": request, "nowhere": nowhere, "logs": logs,
		},
	})
}

// exits runs a program that must end with the code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM [ARG...]")
	}
	err := ts.Exec(args[1], args[2:]...)
	got := "0"
	if exit, ok := err.(*exec.ExitError); ok { //nolint:errorlint // Exec gives it bare
		got = fmt.Sprint(exit.ExitCode())
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if got != args[0] {
		ts.Fatalf("%s exits %s instead of %s\n%s%s", strings.Join(args[1:], " "), got, args[0], ts.ReadFile("stdout"), ts.ReadFile("stderr"))
	}
}

// capture sets a variable to a part of the last output.
func capture(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: capture VAR REGEXP")
	}
	found := regexp.MustCompile("(?m)" + args[1]).FindStringSubmatch(ts.ReadFile("stdout"))
	if len(found) < 2 {
		ts.Fatalf("%s is not in\n%s", args[1], ts.ReadFile("stdout"))
	}
	ts.Setenv(args[0], found[1])
}

// nowhere looks into every file of a directory, databases and their logs included.
func nowhere(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: nowhere TEXT DIR")
	}
	looked := 0
	err := filepath.WalkDir(ts.MkAbs(args[1]), func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		looked++
		if strings.Contains(string(text), args[0]) {
			ts.Fatalf("%s holds %q", path, args[0])
		}
		return nil
	})
	if err != nil || looked == 0 {
		ts.Fatalf("looked at %d files: %v", looked, err)
	}
}
