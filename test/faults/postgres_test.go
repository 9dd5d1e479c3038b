package faults

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gantry/internal/platform/db"
	"gantry/internal/platform/db/dbtest"
	"gantry/internal/platform/id"
)

// engines runs a test on SQLite and, where there is one, on PostgreSQL.
func engines(t *testing.T, f func(t *testing.T, database string)) {
	t.Helper()
	t.Run(string(db.SQLite), func(t *testing.T) {
		t.Parallel()
		f(t, "")
	})
	t.Run(string(db.Postgres), func(t *testing.T) {
		t.Parallel()
		f(t, sharedDatabase(t))
	})
}

// postgres is a throw-away server that a test may take away.
type postgres struct {
	bin, dir string
	port     int
}

// postgresBin finds the newest installed version.
func postgresBin() string {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) == 0 {
		path, _ := exec.LookPath("initdb")
		return filepath.Dir(path)
	}
	slices.Sort(found)
	return filepath.Dir(found[len(found)-1])
}

// postgresUser gives the id of the user that runs it when the test is run by root, empty when there is none.
func postgresUser() string {
	who, err := user.Lookup("postgres")
	if err != nil {
		return ""
	}
	return who.Uid
}

// hasPostgres reports whether a server of one's own can be started.
func hasPostgres() bool {
	return postgresBin() != "." && (os.Geteuid() != 0 || postgresUser() != "")
}

func newPostgres(port int) (*postgres, error) {
	p := &postgres{bin: postgresBin(), port: port}
	var err error
	if p.dir, err = os.MkdirTemp("", "gantry-faults-pg-"); err != nil {
		return nil, err
	}
	if os.Geteuid() == 0 { // initdb refuses root
		uid, err := strconv.Atoi(postgresUser())
		if err != nil {
			return nil, errors.Join(err, os.RemoveAll(p.dir))
		}
		if err := os.Chown(p.dir, uid, -1); err != nil {
			return nil, err
		}
	}
	if err := p.tool("initdb", "-D", p.data(), "-U", "gantry", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"); err != nil {
		return nil, err
	}
	return p, p.start()
}

func (p *postgres) data() string { return filepath.Join(p.dir, "data") }

func (p *postgres) url() string {
	return fmt.Sprintf("postgres://gantry@127.0.0.1:%d/postgres?sslmode=disable", p.port)
}

func (p *postgres) start() error {
	return p.tool("pg_ctl", "-D", p.data(), "-l", filepath.Join(p.data(), "log"), "-w", "-o", fmt.Sprintf(
		"-c listen_addresses=127.0.0.1 -c port=%d -c unix_socket_directories=%s -c max_connections=200 -c shared_buffers=32MB", p.port, p.dir),
		"start")
}

// stop ends it at once, without a word to its clients.
func (p *postgres) stop() error {
	return p.tool("pg_ctl", "-D", p.data(), "-m", "immediate", "-w", "stop")
}

// signal reaches all of its processes: SIGSTOP has them stand still, SIGCONT go on.
func (p *postgres) signal(sig syscall.Signal) error {
	text, err := os.ReadFile(filepath.Join(p.data(), "postmaster.pid"))
	if err != nil {
		return err
	}
	first, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(first)
	if err != nil {
		return err
	}
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return err
	}
	for child := range strings.FieldsSeq(string(children)) {
		if n, err := strconv.Atoi(child); err == nil {
			_ = syscall.Kill(n, sig) // it may have ended meanwhile
		}
	}
	return syscall.Kill(pid, sig)
}

func (p *postgres) remove() {
	_, _ = p.signal(syscall.SIGCONT), p.stop() // it may be stopped already
	_ = os.RemoveAll(p.dir)
}

// tool runs one of its programs, as a user that it accepts.
func (p *postgres) tool(name string, args ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patient)
	defer cancel()
	line := append([]string{filepath.Join(p.bin, name)}, args...)
	if os.Geteuid() == 0 {
		line = append([]string{"runuser", "-u", "postgres", "--"}, line...)
	}
	cmd := exec.CommandContext(ctx, line[0], line[1:]...)
	cmd.Dir = "/"
	// The server inherits these: a pipe of ours would never end.
	out, err := os.CreateTemp("", "gantry-faults-pg-*.log")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(out.Name()) }()
	cmd.Stdout, cmd.Stderr = out, out
	cmd.WaitDelay = time.Second
	err = cmd.Run()
	text, _ := os.ReadFile(out.Name())
	_ = out.Close()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, tail(text, 500))
	}
	return nil
}

// shared is the PostgreSQL of all tests that leave it alone.
var shared struct {
	sync.Once
	own *postgres
	url string
	err error
}

// sharedDatabase makes an empty database for one test.
func sharedDatabase(t *testing.T) string {
	t.Helper()
	requireSandbox(t)
	shared.Do(func() {
		if shared.url = os.Getenv(dbtest.EnvPostgres); shared.url != "" {
			return
		}
		if !hasPostgres() {
			return
		}
		if shared.own, shared.err = newPostgres(freePort(t)); shared.err == nil {
			shared.url = shared.own.url()
		}
	})
	require.NoError(t, shared.err)
	if shared.url == "" {
		t.Skip("there is no PostgreSQL: " + dbtest.EnvPostgres + " is not set and initdb not installed")
	}
	c, err := sql.Open("pgx", shared.url)
	require.NoError(t, err)
	defer func() { _ = c.Close() }()
	name := "gt_faults_" + id.Session()
	_, err = c.ExecContext(t.Context(), "CREATE DATABASE "+name)
	require.NoError(t, err)
	u, err := url.Parse(shared.url)
	require.NoError(t, err)
	u.Path = "/" + name
	return u.String()
}

func stopSharedPostgres() {
	if shared.own != nil {
		shared.own.remove()
	}
}
