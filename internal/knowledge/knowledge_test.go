package knowledge_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"gantry/internal/access"
	"gantry/internal/audit"
	"gantry/internal/knowledge"
	"gantry/internal/platform/db"
	"gantry/internal/platform/db/dbtest"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/page"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("database/sql.(*DB).connectionOpener"))
}

const (
	ours   = "org-ours"
	theirs = "org-theirs"
)

var boss = access.As("test", access.ManageAccountKnowledge, access.ManageEnterpriseSettings)

// editor manages the notes of one organization.
func editor(org string) access.Subject {
	return access.Subject{Kind: access.ServiceUser, ID: "su-" + org, Name: org, OrgID: org}.
		WithGrants(access.Grant{OrgID: org, Permissions: access.SetOf(access.ManageOrgKnowledge)})
}

func isFault(t testing.TB, k fault.Kind, err error) {
	t.Helper()
	require.Error(t, err)
	require.Equal(t, k, fault.KindOf(err), "%v", err)
}

func make1(t testing.TB, s *knowledge.Service, p knowledge.NoteParams) knowledge.Note {
	t.Helper()
	if p.Body == "" {
		p.Body = "body of " + p.Name
	}
	if p.Trigger == "" {
		p.Trigger = "zebra crossing"
	}
	n, err := s.Create(t.Context(), boss, p)
	require.NoError(t, err)
	return n
}

// names lists the notes that a filter finds, by pages of two.
func names(t testing.TB, s *knowledge.Service, who access.Subject, f knowledge.Filter) []string {
	t.Helper()
	var out []string
	r := page.Request{First: 2}
	for {
		p, err := s.List(t.Context(), who, f, r)
		require.NoError(t, err)
		for _, n := range p.Items {
			out = append(out, n.Name)
		}
		if !p.More {
			return out
		}
		r.After = p.End
	}
}

func TestANoteIsWrittenWhole(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		ctx, s, who := t.Context(), knowledge.New(d), editor(ours)
		f, err := s.CreateFolder(ctx, who, knowledge.FolderParams{OrgID: ours, Path: "guides/go/"})
		require.NoError(t, err)
		require.Equal(t, "/guides/go", f.Path)
		made, err := s.Create(ctx, who, knowledge.NoteParams{
			OrgID: ours, Name: "Go", Body: "Use Go.", Trigger: "when writing Go", FolderID: f.ID, PinnedRepo: "acme/app", Enabled: new(false),
			Macro: new("!go"),
		})
		require.NoError(t, err)
		require.Equal(t, "/guides/go", made.FolderPath)
		require.Equal(t, knowledge.AccessOrg, made.AccessType())
		require.False(t, made.Enabled)
		got, err := s.Get(ctx, who, ours, made.ID)
		require.NoError(t, err)
		require.Equal(t, made, got)

		got, err = s.Replace(ctx, who, knowledge.NoteParams{OrgID: ours, NoteID: made.ID, Name: "Go 2", Body: "Use Go!", Trigger: "go"})
		require.NoError(t, err)
		require.Equal(t, knowledge.Note{
			ID: made.ID, OrgID: ours, FolderPath: "/", Name: "Go 2", Body: "Use Go!", Trigger: "go", Enabled: true, Macro: "!go",
			CreatedAt: made.CreatedAt, UpdatedAt: got.UpdatedAt,
		}, got, "what is left out is cleared, but for a macro")
		read, err := s.Get(ctx, who, ours, made.ID)
		require.NoError(t, err)
		require.Equal(t, got, read)

		gone, err := s.Delete(ctx, who, ours, made.ID)
		require.NoError(t, err)
		require.Equal(t, got, gone)
		_, err = s.Get(ctx, who, ours, made.ID)
		isFault(t, fault.NotFound, err)
		_, err = s.Delete(ctx, who, ours, made.ID)
		isFault(t, fault.NotFound, err)

		logs, err := audit.New(d).List(ctx, boss, audit.ListParams{OrgID: ours, Order: audit.Asc, Page: page.Request{First: 10}})
		require.NoError(t, err)
		var actions []audit.Action
		for _, l := range logs.Items {
			actions = append(actions, l.Action)
			require.NotContains(t, string(l.Data), "Use Go", "an entry names a note and doesn't quote it")
		}
		require.Equal(t, []audit.Action{
			audit.CreateFolder, audit.CreateFolder, audit.CreateKnowledge, audit.EditKnowledge, audit.DeleteKnowledge,
		}, actions)
	})
}

func TestBadFieldsAreNamed(t *testing.T) {
	t.Parallel()
	s := knowledge.New(dbtest.Open(t, db.SQLite, dbClock))
	good := knowledge.NoteParams{OrgID: ours, Name: "n", Body: "b", Trigger: "t"}
	for name, c := range map[string]struct {
		field  string
		change func(*knowledge.NoteParams)
	}{
		"no name":      {"name", func(p *knowledge.NoteParams) { p.Name = " " }},
		"long name":    {"name", func(p *knowledge.NoteParams) { p.Name = strings.Repeat("ü", knowledge.MaxName+1) }},
		"no body":      {"body", func(p *knowledge.NoteParams) { p.Body = "" }},
		"long body":    {"body", func(p *knowledge.NoteParams) { p.Body = strings.Repeat("x", knowledge.MaxBody+1) }},
		"nul":          {"body", func(p *knowledge.NoteParams) { p.Body = "a\x00" }},
		"no trigger":   {"trigger", func(p *knowledge.NoteParams) { p.Trigger = "" }},
		"long trigger": {"trigger", func(p *knowledge.NoteParams) { p.Trigger = strings.Repeat("x", knowledge.MaxTrigger+1) }},
		"long pin":     {"pinned_repo", func(p *knowledge.NoteParams) { p.PinnedRepo = strings.Repeat("x", knowledge.MaxRepo+1) }},
		"macro":        {"macro", func(p *knowledge.NoteParams) { p.Macro = new("go") }},
	} {
		p := good
		c.change(&p)
		_, err := s.Create(t.Context(), boss, p)
		isFault(t, fault.Invalid, err)
		require.Equal(t, []string{"body", c.field}, fault.As(err).Fields[0].Loc, name)
	}
	p := good
	p.FolderID = "folder-1"
	_, err := s.Create(t.Context(), boss, p)
	isFault(t, fault.NotFound, err)
	require.Contains(t, err.Error(), "folder_id")
	p.OrgID = ""
	_, err = s.Create(t.Context(), boss, p)
	isFault(t, fault.BadRequest, err)
	require.Contains(t, err.Error(), "folder_id")
	for _, path := range []string{"", "/", "a//b", " a", "a/ b", strings.Repeat("a/", 17), strings.Repeat("x", 101), "a\x00"} {
		_, err := s.CreateFolder(t.Context(), boss, knowledge.FolderParams{OrgID: ours, Path: path})
		isFault(t, fault.Invalid, err)
		require.Equal(t, []string{"body", "path"}, fault.As(err).Fields[0].Loc, "%q", path)
	}
}

func TestAnOrganizationSeesItsOwnNotesThenTheEnterprisesAndNoOthers(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		ctx, s := t.Context(), knowledge.New(d)
		shared := make1(t, s, knowledge.NoteParams{Name: "shared 1"})
		for i := range 3 {
			make1(t, s, knowledge.NoteParams{OrgID: ours, Name: fmt.Sprint("ours ", i)})
		}
		foreign := make1(t, s, knowledge.NoteParams{OrgID: theirs, Name: "theirs"})
		make1(t, s, knowledge.NoteParams{Name: "shared 2"})

		require.Equal(t, []string{"ours 0", "ours 1", "ours 2", "shared 1", "shared 2"}, names(t, s, editor(ours), knowledge.Filter{OrgID: ours}))
		require.Equal(t, []string{"theirs", "shared 1", "shared 2"}, names(t, s, editor(theirs), knowledge.Filter{OrgID: theirs}))
		require.Equal(t, []string{"shared 1", "ours 0", "ours 1", "ours 2", "theirs", "shared 2"}, names(t, s, boss, knowledge.Filter{}))
		require.Equal(t, []string{"shared 1", "shared 2"}, names(t, s, boss, knowledge.Filter{AccessType: "enterprise"}))
		require.Equal(t, []string{"ours 0", "ours 1", "ours 2", "theirs"}, names(t, s, boss, knowledge.Filter{AccessType: "org"}))

		got, err := s.Get(ctx, editor(ours), ours, shared.ID)
		require.NoError(t, err)
		require.Equal(t, knowledge.AccessEnterprise, got.AccessType())
		_, err = s.Get(ctx, editor(ours), ours, foreign.ID)
		isFault(t, fault.NotFound, err)
		missing := fault.As(err).Message
		_, err = s.Get(ctx, editor(ours), ours, "note-x")
		require.Equal(t, missing, fault.As(err).Message, "a foreign note answers like a missing one")
		p := knowledge.NoteParams{OrgID: ours, Name: "n", Body: "b", Trigger: "t"}
		for noteID, kind := range map[string]fault.Kind{shared.ID: fault.Forbidden, foreign.ID: fault.NotFound} {
			p.NoteID = noteID
			_, err = s.Replace(ctx, editor(ours), p)
			isFault(t, kind, err)
			_, err = s.Delete(ctx, editor(ours), ours, noteID)
			isFault(t, kind, err)
			_, err = s.Move(ctx, editor(ours), ours, noteID, "")
			isFault(t, kind, err)
		}
		p.OrgID, p.NoteID = "", foreign.ID
		got, err = s.Replace(ctx, boss, p)
		require.NoError(t, err, "the enterprise's routes reach every note")
		require.Equal(t, theirs, got.OrgID)
	})
}

func TestFiltersFindWhatTheySay(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		ctx, s := t.Context(), knowledge.New(d)
		f, err := s.CreateFolder(ctx, boss, knowledge.FolderParams{OrgID: ours, Path: "/a/b"})
		require.NoError(t, err)
		make1(t, s, knowledge.NoteParams{OrgID: ours, Name: "Äpfel 100%", PinnedRepo: "acme/app"})
		make1(t, s, knowledge.NoteParams{OrgID: ours, Name: "two", Body: `back\slash and under_score`, FolderID: f.ID})
		make1(t, s, knowledge.NoteParams{OrgID: ours, Name: "three", Trigger: "ON Fridays"})
		make1(t, s, knowledge.NoteParams{OrgID: theirs, Name: "four äpfel", Body: "on fridays"})
		for _, c := range []struct {
			f    knowledge.Filter
			want []string
		}{
			{knowledge.Filter{Search: "äPFEL"}, []string{"Äpfel 100%"}},
			{knowledge.Filter{Search: "0%"}, []string{"Äpfel 100%"}},
			{knowledge.Filter{Search: "1%0"}, nil},
			{knowledge.Filter{Search: "r_score"}, []string{"two"}},
			{knowledge.Filter{Search: "r_s_ore"}, nil},
			{knowledge.Filter{Search: `k\s`}, []string{"two"}},
			{knowledge.Filter{Search: "FRIDAYS"}, []string{"three"}},
			{knowledge.Filter{PinnedRepo: "acme/app"}, []string{"Äpfel 100%"}},
			{knowledge.Filter{PinnedRepo: "acme"}, nil},
			{knowledge.Filter{FolderPath: "a/b"}, []string{"two"}},
			{knowledge.Filter{FolderPath: "/a"}, nil},
			{knowledge.Filter{FolderPath: "/"}, []string{"Äpfel 100%", "three"}},
			{knowledge.Filter{FolderPath: "/x"}, nil},
		} {
			c.f.OrgID = ours
			require.Equal(t, c.want, names(t, s, editor(ours), c.f), "%+v", c.f)
		}
		require.Equal(t, []string{"three", "four äpfel"}, names(t, s, boss, knowledge.Filter{Search: "fridays"}))
		require.Equal(t, []string{"two"}, names(t, s, boss, knowledge.Filter{FolderPath: "/a/b"}))
	})
}

func TestAPageOfLongNotesEndsEarlyAndSkipsNone(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s := knowledge.New(d)
		long := strings.Repeat("x", knowledge.MaxBody)
		var want []string
		for i := range 40 {
			org := ours
			if i >= 30 {
				org = ""
			}
			want = append(want, fmt.Sprint(i))
			make1(t, s, knowledge.NoteParams{OrgID: org, Name: want[i], Body: long})
		}
		var got []string
		r, pages := page.Request{First: 200}, 0
		for {
			p, err := s.List(t.Context(), boss, knowledge.Filter{OrgID: ours}, r)
			require.NoError(t, err)
			size := 0
			for _, n := range p.Items {
				got = append(got, n.Name)
				size += len(n.Body)
			}
			require.LessOrEqual(t, size, 8<<20)
			pages++
			if !p.More {
				break
			}
			r.After = p.End
		}
		require.Equal(t, 2, pages)
		require.Equal(t, want, got)
	})
}

func TestFoldersAreATreeThatSwitchesAndRenamesTogether(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		ctx, s := t.Context(), knowledge.New(d)
		deep, err := s.CreateFolder(ctx, boss, knowledge.FolderParams{OrgID: ours, Path: "/a/b/c"})
		require.NoError(t, err)
		_, err = s.CreateFolder(ctx, boss, knowledge.FolderParams{OrgID: ours, Path: "/a-b", Enabled: new(false)})
		require.NoError(t, err)
		_, err = s.CreateFolder(ctx, boss, knowledge.FolderParams{OrgID: ours, Path: "a/b"})
		isFault(t, fault.Conflict, err)
		_, err = s.CreateFolder(ctx, boss, knowledge.FolderParams{OrgID: theirs, Path: "a/b"})
		require.NoError(t, err, "paths are per scope")
		note := make1(t, s, knowledge.NoteParams{OrgID: ours, Name: "deep", FolderID: deep.ID})
		make1(t, s, knowledge.NoteParams{OrgID: ours, Name: "root"})

		tree := func() (paths []string, byPath map[string]knowledge.Folder, root int64) {
			got, err := s.Tree(ctx, editor(ours), ours)
			require.NoError(t, err)
			byPath = map[string]knowledge.Folder{}
			for _, f := range got.Folders {
				paths = append(paths, f.Path)
				byPath[f.Path] = f
			}
			return paths, byPath, got.RootNotes
		}
		paths, by, root := tree()
		require.Equal(t, []string{"/a", "/a/b", "/a/b/c", "/a-b"}, paths)
		require.EqualValues(t, 1, root)
		require.Equal(t, []int64{0, 0, 1}, []int64{by["/a"].Notes, by["/a/b"].Notes, by["/a/b/c"].Notes})
		require.Equal(t, by["/a/b"].ID, by["/a/b/c"].ParentID)
		require.False(t, by["/a-b"].Live)

		off, err := s.UpdateFolder(ctx, boss, knowledge.FolderParams{OrgID: ours, FolderID: by["/a"].ID, Enabled: new(false), Name: new("z")})
		require.NoError(t, err)
		require.Equal(t, "/z", off.Path)
		_, by, _ = tree()
		require.True(t, by["/z/b/c"].Enabled, "its own switch stays")
		require.False(t, by["/z/b/c"].Live)
		got, err := s.Get(ctx, boss, ours, note.ID)
		require.NoError(t, err)
		require.Equal(t, "/z/b/c", got.FolderPath)
		require.True(t, got.Enabled, "a note's own switch stays")
		made, err := s.CreateFolder(ctx, boss, knowledge.FolderParams{OrgID: ours, Path: "/z/b/d"})
		require.NoError(t, err)
		require.False(t, made.Live, "a folder in a folder that is switched off")

		_, err = s.UpdateFolder(ctx, boss, knowledge.FolderParams{OrgID: ours, FolderID: by["/a-b"].ID, Name: new("z")})
		isFault(t, fault.Conflict, err)
		_, err = s.UpdateFolder(ctx, boss, knowledge.FolderParams{OrgID: ours, FolderID: by["/a-b"].ID, Name: new("a/b")})
		isFault(t, fault.Invalid, err)
		for _, id := range []string{by["/z"].ID, deep.ID} {
			_, err = s.DeleteFolder(ctx, boss, ours, id)
			isFault(t, fault.Conflict, err)
		}
		for _, org := range []string{theirs, ""} {
			_, err = s.DeleteFolder(ctx, boss, org, deep.ID)
			isFault(t, fault.NotFound, err)
			_, err = s.UpdateFolder(ctx, boss, knowledge.FolderParams{OrgID: org, FolderID: deep.ID, Enabled: new(false)})
			isFault(t, fault.NotFound, err)
		}
		_, err = s.Move(ctx, boss, ours, note.ID, "")
		require.NoError(t, err)
		gone, err := s.DeleteFolder(ctx, boss, ours, deep.ID)
		require.NoError(t, err)
		require.Equal(t, "/z/b/c", gone.Path)
	})
}

func TestFoldersMadeAtOnceShareTheFoldersAroundThem(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s := knowledge.New(d)
		for round := range 10 {
			var wg sync.WaitGroup
			for i := range 6 {
				wg.Go(func() {
					_, err := s.CreateFolder(t.Context(), boss, knowledge.FolderParams{OrgID: ours, Path: fmt.Sprintf("/a%d/b/c%d", round, i)})
					require.NoError(t, err)
				})
			}
			wg.Wait()
		}
		got, err := s.Tree(t.Context(), editor(ours), ours)
		require.NoError(t, err)
		require.Len(t, got.Folders, 10*8)
	})
}

func TestOnlyTheEnterprisesOwnFoldersTakeItsNotes(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		ctx, s := t.Context(), knowledge.New(d)
		f, err := s.CreateFolder(ctx, boss, knowledge.FolderParams{Path: "shared"})
		require.NoError(t, err)
		other, err := s.CreateFolder(ctx, boss, knowledge.FolderParams{OrgID: ours, Path: "shared"})
		require.NoError(t, err)
		n := make1(t, s, knowledge.NoteParams{Name: "n"})
		_, err = s.Move(ctx, boss, "", n.ID, other.ID)
		isFault(t, fault.NotFound, err)
		_, err = s.Move(ctx, boss, "", n.ID, f.ID)
		require.NoError(t, err)
		got, err := s.Replace(ctx, boss, knowledge.NoteParams{NoteID: n.ID, Name: "m", Body: "b", Trigger: "t"})
		require.NoError(t, err)
		require.Equal(t, "/shared", got.FolderPath, "a route that can't name a folder leaves the note in its own")
	})
}

func TestAMacroIsUniquePerScope(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s := knowledge.New(d)
		for _, org := range []string{ours, theirs, ""} {
			p := knowledge.NoteParams{OrgID: org, Name: "n", Body: "b", Trigger: "t", Macro: new("!go")}
			_, err := s.Create(t.Context(), boss, p)
			require.NoError(t, err)
			_, err = s.Create(t.Context(), boss, p)
			isFault(t, fault.Conflict, err)
			require.Contains(t, fault.As(err).Message, "macro")
		}
	})
}

func TestPermissionComesBeforeEverythingElse(t *testing.T) {
	t.Parallel()
	ctx, s := t.Context(), knowledge.New(dbtest.Open(t, db.SQLite, dbClock))
	for _, c := range map[string]struct {
		who access.Subject
		org string
	}{
		"nobody":                      {access.Subject{}, ours},
		"another organization":        {editor(theirs), ours},
		"an organization's editor":    {editor(ours), ""},
		"other rights":                {access.As("x", access.ManageAccountPlaybooks, access.ManageOrgPlaybooks), ours},
		"one organization's, as such": {access.As("x", access.ManageOrgKnowledge), ""},
	} {
		_, err := s.List(ctx, c.who, knowledge.Filter{OrgID: c.org, FolderPath: "a//b"}, page.Request{First: 1})
		isFault(t, fault.Forbidden, err)
		_, err = s.Get(ctx, c.who, c.org, "x")
		isFault(t, fault.Forbidden, err)
		_, err = s.Create(ctx, c.who, knowledge.NoteParams{OrgID: c.org})
		isFault(t, fault.Forbidden, err)
		_, err = s.Replace(ctx, c.who, knowledge.NoteParams{OrgID: c.org})
		isFault(t, fault.Forbidden, err)
		_, err = s.Delete(ctx, c.who, c.org, "x")
		isFault(t, fault.Forbidden, err)
		_, err = s.Move(ctx, c.who, c.org, "x", "")
		isFault(t, fault.Forbidden, err)
		_, err = s.Tree(ctx, c.who, c.org)
		isFault(t, fault.Forbidden, err)
		_, err = s.CreateFolder(ctx, c.who, knowledge.FolderParams{OrgID: c.org})
		isFault(t, fault.Forbidden, err)
		_, err = s.UpdateFolder(ctx, c.who, knowledge.FolderParams{OrgID: c.org})
		isFault(t, fault.Forbidden, err)
		_, err = s.DeleteFolder(ctx, c.who, c.org, "x")
		isFault(t, fault.Forbidden, err)
	}
}

func TestWhatHappensAtOnceLeavesAWholeTree(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s := knowledge.New(d)
		top, err := s.CreateFolder(t.Context(), boss, knowledge.FolderParams{OrgID: ours, Path: "top"})
		require.NoError(t, err)
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				_, _ = s.CreateFolder(context.Background(), boss, knowledge.FolderParams{OrgID: ours, Path: fmt.Sprint("top/", i/2)})
			})
			wg.Go(func() {
				_, _ = s.UpdateFolder(context.Background(), boss, knowledge.FolderParams{OrgID: ours, FolderID: top.ID, Enabled: new(i%2 == 0)})
			})
		}
		wg.Wait()
		_, err = s.UpdateFolder(t.Context(), boss, knowledge.FolderParams{OrgID: ours, FolderID: top.ID, Enabled: new(false)})
		require.NoError(t, err)
		tree, err := s.Tree(t.Context(), boss, ours)
		require.NoError(t, err)
		require.False(t, slices.ContainsFunc(tree.Folders, func(f knowledge.Folder) bool { return f.Live }))
		require.Len(t, tree.Folders, 5, "each path once")
	})
}
