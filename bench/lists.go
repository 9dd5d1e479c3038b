package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"gantry/bench/data"
	"gantry/internal/platform/config"
	"gantry/internal/platform/secret"
	"gantry/internal/server"
)

// The lists: everything that v3 can be asked, on a year of a large deployment, against the statements that it runs and against itself
// with a hundredth of the data.
const (
	maxOverBare  = 1.25
	maxOverSmall = 3

	// listPart is how much shorter than another figure's the load of one list is: there are hundreds of them.
	listPart = 30
	// again is how much longer one that missed a target is measured once more: what counts then is this, which less disturbs.
	again = 5
)

// loadedPlace is a place with bench data.
type loadedPlace struct {
	*place
	world data.World
	cases []data.Case
}

// loadedAs is what is kept beside a loaded database.
type loadedAs struct {
	World data.World `json:"world"`
	Token string     `json:"token"`
	URL   string     `json:"url"`
}

// loaded gives a place with data of a scale, loaded now unless it was before.
func (b *bench) loaded(ctx context.Context, engine string, scale float64) (*loadedPlace, error) {
	name := engine + "-" + strconv.FormatFloat(scale, 'g', -1, 64)
	dir := filepath.Join(b.data, name)
	p := &loadedPlace{place: &place{b: b, engine: engine, data: dir}}
	at, err := readLoaded(dir)
	if engine == "postgres" && err == nil && !strings.HasPrefix(at.URL, os.Getenv(postgresEnv)[:strings.LastIndex(os.Getenv(postgresEnv), "/")]) {
		err = os.ErrNotExist // it lay on a throw-away server that is gone
	}
	if errors.Is(err, os.ErrNotExist) {
		if at, err = b.load(ctx, engine, dir, scale); err != nil {
			return nil, fmt.Errorf("load %s: %w", name, err)
		}
	} else if err != nil {
		return nil, err
	}
	p.url, p.key, p.world, p.org = at.URL, at.Token, at.World, at.World.Org
	if p.cases, err = p.world.Cases(); err != nil {
		return nil, err
	}
	if p.db, err = openSQL(p.url, false); err != nil {
		return nil, err
	}
	if p.ours, p.oursAt, err = p.serve(ctx, "--no-worker"); err != nil {
		return nil, err
	}
	p.oursPID = p.ours.pid()
	b.places["lists-"+name] = p.place
	return p, nil
}

func readLoaded(dir string) (loadedAs, error) {
	var at loadedAs
	text, err := os.ReadFile(filepath.Join(dir, "loaded.json"))
	if err != nil {
		return at, err
	}
	return at, json.Unmarshal(text, &at)
}

// load makes a data directory with a database, and fills it.
func (b *bench) load(ctx context.Context, engine, dir string, scale float64) (loadedAs, error) {
	var at loadedAs
	if err := os.RemoveAll(dir); err != nil { // what an earlier load left that didn't come to its end
		return at, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return at, err
	}
	at.URL = b.database
	if at.URL == "" {
		at.URL = "sqlite://" + filepath.Join(dir, "gantry.db")
		if engine == "postgres" {
			var err error
			if at.URL, err = newPostgres(ctx, "lists_"+strings.ReplaceAll(strconv.FormatFloat(scale, 'f', -1, 64), ".", "_")); err != nil {
				return at, err
			}
		}
	}
	s, err := b.rooms(ctx, dir, at.URL)
	if err != nil {
		return at, err
	}
	defer func() { _ = s.Close() }() // Load tells what went wrong
	if s.First() == nil {
		return at, errors.New("the database was used before: it takes one that is new")
	}
	at.Token = s.First().Token.Reveal()
	begun := b.clock.Now()
	at.World, err = data.Load(ctx, s, data.Options{Scale: scale, Database: at.URL, Said: func(what string) {
		fmt.Fprintf(os.Stderr, "%s %g, %4.0f s: %s\n", engine, scale, b.clock.Since(begun).Seconds(), what)
	}})
	if err != nil {
		return at, err
	}
	fmt.Fprintf(os.Stderr, "%s %g: loaded in %.0f s\n", engine, scale, b.clock.Since(begun).Seconds())
	text, err := json.Marshal(at)
	if err != nil {
		return at, err
	}
	return at, os.WriteFile(filepath.Join(dir, "loaded.json"), text, 0o600)
}

// rooms opens the server's rooms and doors on a place, for what only they know.
func (b *bench) rooms(ctx context.Context, dir, databaseURL string) (*server.Server, error) {
	cfg := &config.Serve{}
	config.Bind(cfg)
	cfg.Data, cfg.Database, cfg.NoWorker = dir, databaseURL, true
	cfg.Listen.Listen, cfg.PublicURL = "127.0.0.1:0", "http://bench"
	if err := cfg.Finish(config.Sources{}); err != nil {
		return nil, err
	}
	return server.New(ctx, cfg, slog.New(slog.DiscardHandler), server.Options{})
}

// asked is a case with what it takes to answer it: the statements that ran, and the answer.
type asked struct {
	Name       string          `json:"name"`
	Path       string          `json:"path"`
	Statements []statement     `json:"statements"`
	Answer     json.RawMessage `json:"answer"`
}

// items is how many items a page has, -1 for what is no page.
func (a asked) items() int {
	var page struct{ Items []json.RawMessage }
	if json.Unmarshal(a.Answer, &page) != nil || page.Items == nil {
		return -1
	}
	return len(page.Items)
}

// statement is one that the server ran.
type statement struct {
	SQL  string `json:"sql"`
	Args []arg  `json:"args"`
}

// deepPages is how many pages of 100 lie before a deep one, if the list is that long.
const deepPages = 100

// ask asks every case in process and notes the statements of an answer whose asker is known already. A case that the world can't
// answer is an error: nothing is left out in silence.
func (p *loadedPlace) ask(ctx context.Context) ([]asked, error) {
	s, err := p.b.rooms(ctx, p.data, p.url)
	if err != nil {
		return nil, err
	}
	defer func() { _ = s.Close() }() // it only read
	var ran []statement
	s.DB.Watch(func(query string, args []any) {
		a, err := argsOf(args)
		if err != nil {
			panic("bench: " + err.Error()) // a room with a new type of argument
		}
		ran = append(ran, statement{query, a})
	})
	get := func(path string) ([]byte, error) {
		r := httptest.NewRequest(http.MethodGet, path, nil).WithContext(ctx)
		r.Header.Set("Authorization", "Bearer "+p.key)
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			return nil, fmt.Errorf("%s: %d: %.300s", path, w.Code, w.Body)
		}
		return w.Body.Bytes(), nil
	}
	var out []asked
	for _, c := range p.cases {
		path := c.Path
		if c.Deep {
			if path, err = deepen(path, get); err != nil {
				return nil, err
			}
			if path == "" {
				continue // the list is one page
			}
		}
		if _, err := get(path); err != nil {
			return nil, err
		}
		ran = nil
		text, err := get(path)
		if err != nil {
			return nil, err
		}
		out = append(out, asked{Name: c.Name, Path: path, Statements: slices.Clone(ran), Answer: text})
	}
	return out, nil
}

// deepen reads on and gives the path of a page far into the list, "" when there is no second one.
func deepen(path string, get func(string) ([]byte, error)) (string, error) {
	u, err := url.Parse(path)
	if err != nil {
		return "", err
	}
	q, found := u.Query(), ""
	for range deepPages {
		q.Set("first", "100") // every list takes so many
		text, err := get(u.Path + "?" + q.Encode())
		if err != nil {
			return "", err
		}
		var page struct {
			EndCursor string `json:"end_cursor"`
			More      bool   `json:"has_next_page"`
		}
		if err := json.Unmarshal(text, &page); err != nil {
			return "", err
		}
		if !page.More {
			break
		}
		found = page.EndCursor
		q.Set("after", found)
	}
	if found == "" {
		return "", nil
	}
	q.Del("first")
	q.Set("after", found)
	return u.Path + "?" + q.Encode(), nil
}

// listLine is one case on one engine.
type listLine struct {
	name, engine      string
	overBare, overOwn []float64
	millis            float64
	statements, rows  int
}

// lists measures every case on the engines asked for and prints a line for each.
func (b *bench) lists(ctx context.Context, out string) error {
	var lines []listLine
	_, _ = fmt.Fprintf(os.Stdout, "\n%-92s %-9s %6s %6s %9s  %s\n", "asked", "engine", "/bare", "/small", "ms", "statements, rows")
	for _, e := range engines {
		large, err := b.loaded(ctx, e, b.scale)
		if err != nil {
			return err
		}
		small, err := b.loaded(ctx, e, b.scale/100)
		if err != nil {
			return err
		}
		got, err := b.listsOn(ctx, large, small)
		if err != nil {
			return fmt.Errorf("lists %s: %w", e, err)
		}
		lines = append(lines, got...)
	}
	if out == "" {
		return nil
	}
	return replacePart(out, "lists", b.listTable(lines))
}

func (b *bench) listsOn(ctx context.Context, large, small *loadedPlace) ([]listLine, error) {
	many, err := large.ask(ctx)
	if err != nil {
		return nil, err
	}
	few, err := small.ask(ctx)
	if err != nil {
		return nil, err
	}
	there := map[string]asked{}
	for _, a := range few {
		there[a.Name] = a
	}
	if err := large.replay(ctx, many); err != nil {
		return nil, err
	}
	var lines []listLine
	for i, a := range many {
		if b.match != "" && !strings.Contains(a.Name, b.match) {
			continue
		}
		s, ok := there[a.Name]
		if !ok { // a deep page of a list that is short there
			s = there[strings.TrimSuffix(a.Name, " (deep)")]
		}
		l, err := b.listCase(ctx, large, small, a, i, s, b.took/listPart)
		if err == nil && len(l.missed()) > 0 {
			l, err = b.listCase(ctx, large, small, a, i, s, b.took/listPart*again)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", a.Name, err)
		}
		lines = append(lines, l)
		_, _ = fmt.Fprintf(os.Stdout, "%-92s %-9s %6.2f %6.2f %9.3f  %d, %d %s\n", l.name, l.engine, median(l.overBare), median(l.overOwn), l.millis, l.statements, l.rows,
			strings.Join(l.missed(), ", "))
	}
	return lines, nil
}

// replay starts the baseline that runs the same statements.
func (p *loadedPlace) replay(ctx context.Context, asked []asked) error {
	text, err := json.Marshal(asked)
	if err != nil {
		return err
	}
	path := filepath.Join(p.b.dir, "asked-"+p.engine+".json")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return err
	}
	p.bare, p.bareAt, err = p.b.inner(ctx, "bare", bareTask{Database: p.url, Org: p.org, Log: filepath.Join(p.b.dir, "bare-requests.log"), Asked: path})
	if err != nil {
		return err
	}
	p.barePID = p.bare.pid()
	return nil
}

// listCase measures one case: the large place, its bare statements, the small place, and again.
func (b *bench) listCase(ctx context.Context, large, small *loadedPlace, a asked, n int, there asked, took time.Duration) (listLine, error) {
	l := listLine{name: a.Name, engine: large.engine, statements: len(a.Statements)}
	bare := "/replay/" + strconv.Itoa(n)
	if err := large.alike(ctx, a.Path, bare); err != nil {
		return l, err
	}
	var err error
	if l.rows, err = rowsOf(ctx, large.bareAt, bare); err != nil {
		return l, err
	}
	sides := []side{
		{large.oursAt, request("GET", a.Path, large.key, "")},
		{large.bareAt, request("GET", bare, "", "")},
		{small.oursAt, request("GET", there.Path, small.key, "")},
	}
	if n := there.items(); n > 0 && n < a.items() { // as many items as there
		sides = append(sides, side{large.oursAt, request("GET", first(a.Path, n), large.key, "")})
	}
	millis := make([][]float64, len(sides))
	for round := range b.pairs + 1 {
		got, err := b.inTurns(ctx, turns{Sides: sides, Time: took})
		if err != nil {
			return l, err
		}
		if round == 0 {
			continue // it warms up
		}
		for i, ms := range got {
			millis[i] = append(millis[i], ms)
		}
	}
	own := millis[0]
	if len(millis) > 3 {
		own = millis[3]
	}
	l.overBare, l.overOwn, l.millis = ratios(millis[0], millis[1]), ratios(own, millis[2]), median(millis[0])
	return l, nil
}

// first asks for so many items.
func first(path string, n int) string {
	join := "?"
	if strings.Contains(path, "?") {
		join = "&"
	}
	return path + join + "first=" + strconv.Itoa(n)
}

// rowsOf asks the baseline how many rows an answer reads.
func rowsOf(ctx context.Context, addr, path string) (int, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+path, nil)
	if err != nil {
		return 0, err
	}
	res, err := plain.Do(r)
	if err != nil {
		return 0, err
	}
	_, _ = io.Copy(io.Discard, res.Body) // only the header counts
	_ = res.Body.Close()
	return strconv.Atoi(res.Header.Get("X-Rows"))
}

// missed names the targets that a line misses.
func (l listLine) missed() []string {
	var out []string
	if math.Round(median(l.overBare)*100) > maxOverBare*100 {
		out = append(out, "misses 1.25x")
	}
	if math.Round(median(l.overOwn)*100) > maxOverSmall*100 {
		out = append(out, "misses 3x")
	}
	return out
}

// listTable is the table as the page shows it: a line for each case, the engines beside one another.
func (b *bench) listTable(lines []listLine) string {
	var t strings.Builder
	fmt.Fprintf(&t, "Measured at scale %g with %d rounds, in each %s of every side, taken in turn, and, where a target was missed, once more with "+
		"%d times as long, which then counts; load when it ended: %s. A cell is the median of the rounds' ratios and the smallest and largest of "+
		"them. A page is held against one of as many items at a hundredth of the size.\n\n",
		b.scale, b.pairs, b.took/listPart, again, loadAverage())
	t.WriteString("| asked |")
	for _, e := range engines {
		fmt.Fprintf(&t, " %s / bare | %s / a hundredth | %s |", e, e, e)
	}
	t.WriteString("\n|---|" + strings.Repeat("---|---|---|", len(engines)) + "\n")
	missed, names := 0, []string{}
	for _, l := range lines {
		if !slices.Contains(names, l.name) {
			names = append(names, l.name)
		}
		missed += len(l.missed())
	}
	slices.Sort(names)
	for _, name := range names {
		t.WriteString("| " + strings.ReplaceAll(name, "|", "\\|") + " |")
		for _, e := range engines {
			i := slices.IndexFunc(lines, func(l listLine) bool { return l.name == name && l.engine == e })
			if i < 0 {
				t.WriteString(" | | |")
				continue
			}
			l := lines[i]
			fmt.Fprintf(&t, " %s | %s | %.2f ms |", spreadOf(l.overBare, maxOverBare), spreadOf(l.overOwn, maxOverSmall), l.millis)
		}
		t.WriteByte('\n')
	}
	fmt.Fprintf(&t, "\n%d cells miss their target of %g or %d; they are **bold**.\n", missed, maxOverBare, maxOverSmall)
	return t.String()
}

func spreadOf(v []float64, target float64) string {
	text := fmt.Sprintf("%.2f", median(v))
	if math.Round(median(v)*100) > target*100 {
		text = "**" + text + "**"
	}
	return text + fmt.Sprintf(" (%.2f..%.2f)", slices.Min(v), slices.Max(v))
}

// loadData is `make bench-data`: the data of both sizes, kept for later runs.
func (b *bench) loadData(ctx context.Context) error {
	for _, e := range engines {
		scales := []float64{b.scale, b.scale / 100}
		if b.database != "" {
			scales = scales[:1]
		}
		for _, s := range scales {
			dir := filepath.Join(b.data, e+"-"+strconv.FormatFloat(s, 'g', -1, 64))
			at, err := readLoaded(dir)
			if errors.Is(err, os.ErrNotExist) {
				at, err = b.load(ctx, e, dir, s)
			}
			if err != nil {
				return err
			}
			_, _ = fmt.Fprintf(os.Stdout, "%s\n  gantry serve --no-worker --data %s --database %s\n  key %s\n", dir, dir, config.Redact(at.URL), secret.New(at.Token).Reveal())
		}
	}
	return nil
}
