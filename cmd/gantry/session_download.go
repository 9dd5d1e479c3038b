package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"gantry/internal/client"
)

type sessionDownloadCmd struct {
	target  `embed:""`
	Session string   `arg:"" help:"Session id, with or without devin-."`
	Name    []string `arg:"" optional:"" help:"Names of the files; without them all that the session made."`
	To      string   `help:"Folder to write to, made if need be." default:"." placeholder:"DIR"`
	Force   bool     `help:"Replace files that are there."`
}

// Run writes a session's files to a folder. Their names are the agent's, so nothing outside of the folder is written.
func (d *sessionDownloadCmd) Run(ctx context.Context, io *stdio) error {
	c, org, err := d.openOrg(ctx, io)
	if err != nil {
		return err
	}
	got, err := c.GetSession(ctx, org, d.Session)
	if err != nil {
		return explain(err)
	}
	all, err := c.ListAttachments(ctx, org, got.SessionID)
	if err != nil {
		return explain(err)
	}
	files, err := d.choose(all)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(d.To, 0o777); err != nil {
		return err
	}
	root, err := os.OpenRoot(d.To)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	written := []string{}
	for _, f := range files {
		name := freeName(written, baseName(f.Name))
		if err := d.write(ctx, c, root, org, f, name); err != nil {
			return err
		}
		written = append(written, name)
		if !d.JSON {
			io.printf("%s\n", clean(filepath.Join(d.To, name)))
		}
	}
	if d.JSON {
		return io.json(written)
	}
	if len(files) == 0 {
		io.note("session %s made no files; `gantry session show %s` lists what it has", got.SessionID, got.SessionID)
	}
	return nil
}

// choose gives the files that were named, or all that the session made.
func (d *sessionDownloadCmd) choose(all []client.Attachment) ([]client.Attachment, error) {
	var out []client.Attachment
	for _, f := range all {
		if slices.Contains(d.Name, f.Name) || len(d.Name) == 0 && f.Source == "devin" {
			out = append(out, f)
		}
	}
	for _, name := range d.Name {
		if !slices.ContainsFunc(out, func(f client.Attachment) bool { return f.Name == name }) {
			return nil, fmt.Errorf("the session has no file named %s; `gantry session show %s` lists them", name, d.Session)
		}
	}
	return out, nil
}

// freeName tells files of one session and one name apart.
func freeName(taken []string, name string) string {
	free := name
	for i := 2; slices.Contains(taken, free); i++ {
		free = strconv.Itoa(i) + "-" + name
	}
	return free
}

func (d *sessionDownloadCmd) write(ctx context.Context, c *client.Client, root *os.Root, org string, f client.Attachment, name string) (err error) {
	mode := os.O_WRONLY | os.O_CREATE | os.O_EXCL
	if d.Force {
		mode = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	}
	file, err := root.OpenFile(name, mode, 0o666)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already; --force replaces it, --to DIR writes elsewhere", filepath.Join(d.To, name))
	}
	if err != nil {
		return err
	}
	defer func() {
		if cerr := file.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			_ = root.Remove(name) // half a file is worse than none
		}
	}()
	if err := c.Download(ctx, org, f.AttachmentID, f.Name, file); err != nil {
		return explain(err)
	}
	return nil
}
