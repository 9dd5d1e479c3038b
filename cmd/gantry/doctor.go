package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"gantry/internal/access"
	"gantry/internal/agents"
	"gantry/internal/platform/blob"
	"gantry/internal/platform/config"
	"gantry/internal/platform/db"
	"gantry/internal/platform/keeper"
	"gantry/internal/server"
	"gantry/internal/wire"
	"gantry/internal/worker/sandbox"
)

type doctorCmd struct {
	config.Storage `embed:""`
	config.Sandbox `embed:""`
	JSON           bool `name:"json" help:"Print JSON for scripts."`
}

// finding is what one check found. Mend is empty when there is nothing to do; beside OK it is for soon.
type finding struct {
	Check string `json:"check"`
	OK    bool   `json:"ok"`
	Found string `json:"found"`
	Mend  string `json:"mend,omitempty"`
}

// Run makes every check, however the others end, and exits 1 when one failed. It makes nothing that isn't there.
func (d *doctorCmd) Run(ctx context.Context, io *stdio, src config.Sources) error {
	if err := d.Fill(src); err != nil {
		return err
	}
	var all []finding
	database, open := d.database(ctx)
	all = append(all, d.data(), database)
	all = append(all, d.room()...)
	migrated := false
	if open != nil {
		defer func() { _ = open.Close() }() // it was only read
		found := schema(ctx, open)
		migrated = found.OK
		all = append(all, found)
	}
	held, k := d.keeperOpens(ctx, open, migrated)
	all = append(all, held, d.blobsOpen(ctx, open, migrated), d.sandboxRuns(), gitRuns())
	if k != nil {
		all = append(all, agentsRun(ctx, open, k)...)
		_ = k.Close() // nothing was written through it
	}
	return report(io, d.JSON, all)
}

func report(io *stdio, asJSON bool, all []finding) error {
	ok := true
	rows := make([][]string, len(all))
	for i, f := range all {
		mark := "ok"
		switch {
		case !f.OK:
			mark, ok = "FAIL", false
		case f.Mend != "":
			mark = "warn"
		}
		rows[i] = []string{mark, f.Check, strings.TrimSpace(f.Found + ". " + f.Mend)}
	}
	var err error
	if asJSON {
		err = io.json(all)
	} else {
		err = io.table([]string{"", "CHECK", "FOUND"}, rows)
	}
	if err == nil && !ok {
		return exitCode(exitUsage)
	}
	return err
}

func good(check, found string, args ...any) finding {
	return finding{Check: check, OK: true, Found: fmt.Sprintf(found, args...)}
}

func bad(check string, err error, mend string) finding {
	return finding{Check: check, Found: strings.ReplaceAll(strings.TrimSuffix(err.Error(), "."), "\n", "; "), Mend: mend}
}

func (d *doctorCmd) data() finding {
	const check = "data directory"
	if _, err := os.Stat(d.Data); errors.Is(err, fs.ErrNotExist) {
		return good(check, "%s isn't there yet; `gantry serve` makes it", d.Data)
	}
	loose, err := makeDataDir(d.Data)
	if err != nil {
		return bad(check, err, "")
	}
	if loose {
		return finding{Check: check, Found: "others may enter " + d.Data, Mend: "Run: chmod 700 " + d.Data}
	}
	lock, err := lockFile(filepath.Join(d.Data, "serve.lock"))
	switch {
	case errors.Is(err, errLocked):
		return good(check, "%s, a server runs on it", d.Data)
	case err != nil:
		return bad(check, err, "Give the directory to the user that runs Gantry.")
	}
	_ = lock.Close() // it was held to look only
	return good(check, "%s, no server runs on it", d.Data)
}

func (d *doctorCmd) database(ctx context.Context) (finding, *db.DB) {
	const check = "database"
	if path := absent(d.Database); path != "" {
		if strings.HasPrefix(d.Keeper, "file:") && absent(d.Keeper) == "" {
			return finding{
				Check: check, Found: path + " isn't there, but the keeper's key is",
				Mend: "Put the database back from a backup; without one, `gantry serve` makes an empty one.",
			}, nil
		}
		return good(check, "%s isn't there yet; `gantry serve` makes it", path), nil
	}
	open, err := db.Open(ctx, d.Database, db.Options{})
	switch {
	case err != nil && strings.HasPrefix(d.Database, "sqlite:"):
		return bad(check, err, "Check that this user may read and write the file; put a damaged one back from a backup."), nil
	case err != nil:
		return bad(check, err, "Check --database, and that the server is reachable and the user may connect."), nil
	}
	return good(check, "%s answers", config.Redact(d.Database)), open
}

func schema(ctx context.Context, d *db.DB) finding {
	const check = "schema"
	have, want, err := d.SchemaVersion(ctx)
	switch {
	case err != nil:
		return bad(check, err, "The user of the database must be able to make tables.")
	case have < want:
		return finding{Check: check, Found: fmt.Sprintf("version %d, this program needs %d", have, want), Mend: "Run `gantry migrate`; `gantry serve` does it at its start."}
	case have > want:
		return bad(check, db.Newer(have, want), "")
	}
	return good(check, "version %d", have)
}

// keeperOpens checks that the keeper is there and is the database's, and gives it when it is. A database without a schema, or that no
// server has started on, has no keeper yet.
func (d *doctorCmd) keeperOpens(ctx context.Context, open *db.DB, migrated bool) (finding, *keeper.Keeper) {
	const check = "keeper"
	kept := false
	if migrated {
		var err error
		if kept, err = keeper.Kept(ctx, open); err != nil {
			return bad(check, err, ""), nil
		}
	}
	const usable = "Check --keeper, and that it may be used by the user that runs Gantry."
	path := absent(d.Keeper)
	if kept && path != "" {
		return finding{
			Check: check, Found: path + " isn't there, but the database is",
			Mend: "Put the key file back from a backup: nothing else opens the database's secrets. " +
				"If `gantry admin rotate-keeper` was run since, name the keeper that it was given with --keeper.",
		}, nil
	}
	if kept {
		k, err := keeper.Of(ctx, open, d.Keeper, d.Data, false)
		switch {
		case errors.Is(err, keeper.ErrWrongKeeper):
			return bad(check, err, "Give the keeper that this database was made with, or that `gantry admin rotate-keeper` was given since."), nil
		case err != nil:
			return bad(check, err, usable), nil
		}
		return good(check, "%s opens this database's secrets", k.Name()), k
	}
	if path != "" {
		return good(check, "%s isn't there yet; `gantry serve` makes it", path), nil
	}
	k, err := keeper.Open(ctx, d.Keeper, d.Data)
	if err != nil {
		return bad(check, err, usable), nil
	}
	defer func() { _ = k.Close() }() // nothing was written through it
	if open == nil {
		return good(check, "%s opens; without the database it can't be tried", k.Name()), nil
	}
	return good(check, "%s opens; it is tried once a server has started on the database", k.Name()), nil
}

// blobsOpen checks that the blobs are there, and are those of the database where several servers may share it.
func (d *doctorCmd) blobsOpen(ctx context.Context, open *db.DB, migrated bool) finding {
	const check, mend = "blobs", "Check --blobs, and that this user may write there."
	if path := absent(d.Blobs); path != "" {
		return good(check, "%s isn't there yet; `gantry serve` makes it", path)
	}
	b, err := blob.Open(ctx, d.Blobs, d.Data)
	if err != nil {
		return bad(check, err, mend)
	}
	defer func() { _ = b.Close() }() // it holds nothing
	if err := b.Check(ctx); err != nil {
		return bad(check, err, mend)
	}
	is, shared := server.BlobsAny, ""
	if open != nil && migrated {
		if is, err = server.CheckBlobs(ctx, open, b, false); err != nil {
			return bad(check, err, mend)
		}
	}
	const all = "every server on this database needs the same directory, or a bucket"
	if is == server.BlobsOther {
		return finding{Check: check, Found: config.Redact(d.Blobs) + " isn't the directory of this database's first server", Mend: "Give that with --blobs: " + all + " (s3://BUCKET)."}
	}
	if is == server.BlobsLocal {
		shared = "; " + all
	}
	return good(check, "%s takes and gives%s", config.Redact(d.Blobs), shared)
}

// sandboxRuns makes a sandbox in a directory of its own and runs it once, as a worker does at its start.
func (d *doctorCmd) sandboxRuns() finding {
	const check = "sandbox"
	if d.Sandbox.Sandbox == sandbox.ModeNone {
		return finding{Check: check, Found: "there is none: agents can do whatever this user can", Mend: "Use --sandbox=bubblewrap unless this machine is itself the sandbox."}
	}
	self, err := os.Executable()
	if err != nil {
		return bad(check, err, "")
	}
	dir, err := os.MkdirTemp("", "gantry-doctor-")
	if err != nil {
		return bad(check, err, "")
	}
	defer func() { _ = os.RemoveAll(dir) }() // a temporary directory
	o := sandboxOptions(d.Sandbox, slog.New(slog.DiscardHandler))
	o.Root, o.Self = filepath.Join(dir, "sessions"), self
	box, err := sandbox.New(o)
	if err != nil {
		return bad(check, err, "")
	}
	if err := box.Close(); err != nil {
		return bad(check, err, "")
	}
	return good(check, "bubblewrap confines; network %s", d.SandboxNet)
}

func gitRuns() finding {
	const check = "git"
	path, err := exec.LookPath("git")
	if err != nil {
		return bad(check, err, "Install git (apt-get install git).")
	}
	return good(check, "%s", path)
}

// agentsRun checks that each configured agent's program is on this machine; workers elsewhere have their own.
func agentsRun(ctx context.Context, d *db.DB, k *keeper.Keeper) []finding {
	all, err := agents.New(d, k).List(ctx, operator("doctor", access.ManageEnterpriseSettings))
	if err != nil {
		return []finding{bad("agents", operatorError(err), "")}
	}
	var out []finding
	for _, a := range all {
		check := "agent " + a.Name
		if len(a.Command) == 0 {
			out = append(out, good(check, "built in; it needs no model and runs the sh blocks of a prompt"))
			continue
		}
		if err := bindsWork(a.Binds); err != nil {
			out = append(out, bad(check, err, "Every session of this agent fails: remove it and add it again with another --bind."))
			continue
		}
		if _, err := exec.LookPath(a.Command[0]); err != nil {
			out = append(out, bad(check, err, "Install it where workers run, and name its place with --bind."))
			continue
		}
		out = append(out, good(check, "%s", a.Command[0]))
	}
	return out
}

// bindsWork checks what an agent shall see of this machine by the rule that workers refuse by.
func bindsWork(binds []string) error {
	for _, b := range binds {
		if err := wire.CheckBind(b); err != nil {
			return err
		}
	}
	return nil
}
