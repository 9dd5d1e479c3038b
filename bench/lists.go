package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
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
	// again is how much longer one that missed a target is measured again, and anew how often, each time by programs that were started for
	// it: what a process is by chance, the places of its memory above all, moves a small answer by a tenth. What counts then are these.
	again = 3
	anew  = 3
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
	at, err := readLoaded(ctx, dir)
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

// readLoaded gives os.ErrNotExist where nothing was loaded, or onto a throw-away server that is gone.
func readLoaded(ctx context.Context, dir string) (loadedAs, error) {
	var at loadedAs
	text, err := os.ReadFile(filepath.Join(dir, "loaded.json"))
	if err != nil {
		return at, err
	}
	if err := json.Unmarshal(text, &at); err != nil {
		return at, err
	}
	d, err := openSQL(at.URL, false)
	if err != nil {
		return at, err
	}
	defer func() { _ = d.Close() }() // it was only asked whether it is there
	if d.PingContext(ctx) != nil {
		return at, os.ErrNotExist
	}
	return at, nil
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

// listRun is the measuring of all cases on one engine.
type listRun struct {
	b            *bench
	large, small *loadedPlace
	many         []asked
	there        map[string]asked // at a hundredth of the size, by name
}

func (b *bench) listsOn(ctx context.Context, large, small *loadedPlace) ([]listLine, error) {
	r := &listRun{b: b, large: large, small: small, there: map[string]asked{}}
	var err error
	if r.many, err = large.ask(ctx); err != nil {
		return nil, err
	}
	few, err := small.ask(ctx)
	if err != nil {
		return nil, err
	}
	for _, a := range few {
		r.there[a.Name] = a
	}
	if err := large.replay(ctx, r.many); err != nil {
		return nil, err
	}
	var lines []listLine
	missed := map[int]int{} // which of many, and its line
	for n, a := range r.many {
		if !slices.ContainsFunc(strings.Split(b.match, ","), func(part string) bool { return strings.Contains(a.Name, part) }) {
			continue
		}
		l, err := r.measure(ctx, n, b.took/listPart)
		if err != nil {
			return nil, err
		}
		if len(l.missed()) > 0 {
			missed[n] = len(lines)
		}
		lines = append(lines, l)
		l.print()
	}
	return lines, r.again(ctx, lines, missed)
}

// again measures the cases that missed a target anew.
func (r *listRun) again(ctx context.Context, lines []listLine, missed map[int]int) error {
	if len(missed) == 0 {
		return nil
	}
	for pass := range anew {
		if err := errors.Join(r.large.restart(ctx), r.small.restart(ctx)); err != nil {
			return err
		}
		if err := r.large.replay(ctx, r.many); err != nil {
			return err
		}
		for _, n := range slices.Sorted(maps.Keys(missed)) {
			l, err := r.measure(ctx, n, r.b.took/listPart*again)
			if err != nil {
				return err
			}
			if before := lines[missed[n]]; pass > 0 {
				l.overBare, l.overOwn = append(before.overBare, l.overBare...), append(before.overOwn, l.overOwn...)
			}
			lines[missed[n]] = l
			if pass == anew-1 {
				l.print()
			}
		}
	}
	return nil
}

// measure measures one case: the large place, its bare statements, the small place, and the large one with as many items as that.
func (r *listRun) measure(ctx context.Context, n int, took time.Duration) (listLine, error) {
	a := r.many[n]
	there, ok := r.there[a.Name]
	if !ok { // a deep page of a list that is short there
		there = r.there[strings.TrimSuffix(a.Name, " (deep)")]
	}
	l := listLine{name: a.Name, engine: r.large.engine, statements: len(a.Statements)}
	bare := "/replay/" + strconv.Itoa(n)
	if err := r.large.alike(ctx, a.Path, bare); err != nil {
		return l, fmt.Errorf("%s: %w", a.Name, err)
	}
	var err error
	if l.rows, err = rowsOf(ctx, r.large.bareAt, bare); err != nil {
		return l, fmt.Errorf("%s: %w", a.Name, err)
	}
	sides := []side{
		{r.large.oursAt, request("GET", a.Path, r.large.key, "")},
		{r.large.bareAt, request("GET", bare, "", "")},
		{r.small.oursAt, request("GET", there.Path, r.small.key, "")},
	}
	if n := there.items(); n > 0 && n < a.items() {
		sides = append(sides, side{r.large.oursAt, request("GET", first(a.Path, n), r.large.key, "")})
	}
	millis := make([][]float64, len(sides))
	for round := range r.b.pairs + 1 {
		got, err := r.b.inTurns(ctx, turns{Sides: sides, Time: took})
		if err != nil {
			return l, fmt.Errorf("%s: %w", a.Name, err)
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

// restart ends the place's servers and starts Gantry anew.
func (p *loadedPlace) restart(ctx context.Context) error {
	p.place.close()
	var err error
	if p.db, err = openSQL(p.url, false); err != nil {
		return err
	}
	p.bare = nil
	if p.ours, p.oursAt, err = p.serve(ctx, "--no-worker"); err != nil {
		return err
	}
	p.oursPID = p.ours.pid()
	return nil
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

// loadData is `make bench-data`: the data of both sizes, kept for later runs.
func (b *bench) loadData(ctx context.Context) error {
	for _, e := range engines {
		scales := []float64{b.scale, b.scale / 100}
		if b.database != "" {
			scales = scales[:1]
		}
		for _, s := range scales {
			dir := filepath.Join(b.data, e+"-"+strconv.FormatFloat(s, 'g', -1, 64))
			at, err := readLoaded(ctx, dir)
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
