// Command bench measures Gantry's figures, each as a ratio against a bare baseline in the same run.
//
// A figure is measured in interleaved pairs: ours, the baseline, ours, the baseline, and so on. What is printed is the median of the
// pairs' ratios and their spread. Servers, baselines and the load are processes of their own; the load comes over loopback from this
// program started again. Nothing here is a test: it prints, and with -o it writes the table into a page.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"gantry/internal/platform/clock"
)

// engines that every figure with a database is measured on.
var engines = []string{"sqlite", "postgres"}

// figure is one line or more of the table.
type figure struct {
	name string
	// each says that it is measured once per engine.
	each bool
	run  func(ctx context.Context, b *bench, engine string) ([]row, error)
}

var figures = []figure{
	{"list100", true, listFigure(100)},
	{"list3", true, listFigure(3)},
	{"get", true, getFigure},
	{"create", true, createFigure},
	{"self", true, selfFigure},
	{"require", false, requireFigure},
	{"update", true, updateFigure},
	{"sessions", true, sessionsFigure},
	{"stream", true, streamFigure},
	{"start", false, startFigure},
	{"idle", false, idleFigure},
	{"size", false, sizeFigure},
}

// bench is one run.
type bench struct {
	quick  bool
	pairs  int
	took   time.Duration // how long one load runs
	dir    string        // everything that is written, removed at the end
	self   string        // this program
	gantry string        // the program that is measured
	clock  clock.Clock
	places map[string]*place

	data     string  // where loaded databases are kept
	scale    float64 // of the lists' data
	database string  // a database to load, "" for one of the bench's own
	match    string  // comma-joined parts of the names of the lists to measure, "" for all
}

// inner are the parts that run as processes of their own.
var inner = map[string]func(ctx context.Context) error{
	"bare": bareMain, "load": loadMain, "turns": turnsMain, "readers": readersMain, "chain": chainMain, "updates": updatesMain,
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench: "+err.Error())
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	if len(os.Args) == 2 && inner[os.Args[1]] != nil {
		return inner[os.Args[1]](ctx)
	}
	names := make([]string, len(figures), len(figures)+1)
	for i, f := range figures {
		names[i] = f.name
	}
	names = append(names, "lists")
	quick := flag.Bool("quick", false, "shorter: three pairs of less, good for trying out only")
	only := flag.String("only", "", "comma-joined names of figures: "+strings.Join(names, ", "))
	engine := flag.String("engine", "", "only one engine: sqlite or postgres")
	out := flag.String("o", "", "page whose part between the bench markers is replaced by the tables")
	profile := flag.String("profile", "", "instead write a CPU profile of each hot path into this `directory` and print its top functions")
	scale := flag.Float64("scale", 1, "size of the lists' data: 1 is 1,000,000 sessions; -quick takes a fiftieth of it")
	dataDir := flag.String("data", filepath.Join(os.TempDir(), "gantry-bench-data"), "directory in which the lists' data is kept from run to run")
	load := flag.Bool("load", false, "only load the lists' data")
	database := flag.String("database", "", "with -load: the URL of a new database to load instead")
	match := flag.String("match", "", "measure only the lists whose name holds one of these, comma-joined")
	flag.Parse()
	if flag.NArg() > 0 {
		return fmt.Errorf("unknown argument %q", flag.Arg(0))
	}
	if *database != "" {
		*engine = "sqlite"
		if strings.HasPrefix(*database, "postgres") {
			*engine = "postgres"
		}
	}
	if *engine != "" {
		engines = slices.DeleteFunc(engines, func(e string) bool { return e != *engine })
	}
	if slices.Contains(engines, "postgres") && os.Getenv(postgresEnv) == "" && *database == "" {
		return withPostgres()
	}
	b := &bench{
		quick: *quick, pairs: 5, took: 3 * time.Second, places: map[string]*place{}, data: *dataDir, scale: *scale, database: *database, match: *match,
	}
	if b.quick {
		b.pairs, b.took, b.scale = 3, 500*time.Millisecond, *scale/50
	}
	var err error
	if b.self, err = os.Executable(); err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp("", "gantry-bench-"); err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(b.dir) }() // a directory of ours
	defer b.close()
	if *load {
		return b.loadData(ctx)
	}
	if err := b.build(ctx); err != nil {
		return err
	}
	if *profile != "" {
		return b.profile(ctx, *profile, *only, *out)
	}
	if *only != "lists" {
		t := newTable(b)
		err = b.measure(ctx, *only, t)
		if *out != "" && err == nil {
			err = replacePart(*out, "figures", t.markdown())
		}
	}
	if err == nil && (*only == "" || slices.Contains(strings.Split(*only, ","), "lists")) {
		err = b.lists(ctx, *out)
	}
	return err
}

// measure runs the figures that are asked for and prints their rows as they come.
func (b *bench) measure(ctx context.Context, only string, t *table) error {
	var wanted []string
	if only != "" {
		wanted = strings.Split(only, ",")
	}
	t.head(os.Stdout)
	for _, f := range figures {
		if len(wanted) > 0 && !slices.Contains(wanted, f.name) {
			continue
		}
		on := []string{""}
		if f.each {
			on = engines
		}
		for _, e := range on {
			rows, err := f.run(ctx, b, e)
			if err != nil {
				return fmt.Errorf("%s %s: %w", f.name, e, err)
			}
			for _, r := range rows {
				r.engine = e
				t.add(os.Stdout, r)
			}
		}
	}
	return nil
}

// build makes the programs that are measured, stripped as a release is.
func (b *bench) build(ctx context.Context) error {
	b.gantry = filepath.Join(b.dir, "gantry")
	return b.goBuild(ctx, b.gantry, "./cmd/gantry")
}

func (b *bench) goBuild(ctx context.Context, out string, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", append([]string{"build", "-trimpath", "-ldflags", "-s -w", "-o", out}, args...)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w: %s", strings.Join(args, " "), err, text)
	}
	return nil
}

func (b *bench) close() {
	for _, p := range b.places {
		p.close()
	}
	clear(b.places)
}

const postgresEnv = "GANTRY_TEST_POSTGRES"

// withPostgres starts this program again with a throw-away PostgreSQL that keeps its promises: the script's default is for tests and
// trades durability for speed.
func withPostgres() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	script, err := filepath.Abs("scripts/postgres.sh")
	if err != nil {
		return err
	}
	if _, err := os.Stat(script); err != nil {
		return errors.New("run it at the top of the source tree: scripts/postgres.sh is needed for the PostgreSQL half")
	}
	return syscall.Exec(script, append([]string{script, self}, os.Args[1:]...), append(os.Environ(), "GANTRY_TEST_POSTGRES_DURABLE=1"))
}
