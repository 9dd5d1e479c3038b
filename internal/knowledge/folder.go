package knowledge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"gantry/internal/access"
	"gantry/internal/audit"
	"gantry/internal/platform/db"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/id"
)

// Limits of a folder's path.
const (
	MaxFolderName = 100 // characters of one name
	MaxDepth      = 16  // names of a path
)

// rootPath is where a note is that is in no folder.
const rootPath = "/"

// Folder is one folder. Live says that it and every folder around it are switched on.
type Folder struct {
	ID        string
	OrgID     string // empty for the enterprise
	ParentID  string // empty at the root
	Name      string
	Path      string
	Enabled   bool
	Live      bool
	Notes     int64 // directly inside
	CreatedAt time.Time
	UpdatedAt time.Time
}

// Tree is every folder of a scope, sorted by path, and how many notes are in none.
type Tree struct {
	Folders   []Folder
	RootNotes int64
}

// cleanPath gives a path its one form: a slash before each name, none at the end. The error's text is for the caller.
func cleanPath(path string) (string, error) {
	names := strings.Split(strings.Trim(path, "/"), "/")
	if len(names) == 1 && names[0] == "" {
		return rootPath, nil
	}
	if len(names) > MaxDepth {
		return "", fmt.Errorf("at most %d names", MaxDepth)
	}
	for _, n := range names {
		if err := checkName(n); err != nil {
			return "", err
		}
	}
	return "/" + strings.Join(names, "/"), nil
}

func checkName(name string) error {
	if n := utf8.RuneCountInString(name); strings.TrimSpace(name) != name || n < 1 || n > MaxFolderName || !db.Storable(name) ||
		strings.Contains(name, "/") {
		return fmt.Errorf("a folder's name is text of 1 to %d characters, without a slash and without spaces at its ends", MaxFolderName)
	}
	return nil
}

// FolderParams name a folder: by its path for a new one, else by its id. Nil fields stay.
type FolderParams struct {
	OrgID    string // empty for the enterprise
	FolderID string
	Path     string
	Name     *string
	Enabled  *bool
}

// Tree gives the folders of an organization, with "" of the enterprise (contract/behaviour.md §3.9 24).
func (s *Service) Tree(ctx context.Context, who access.Subject, orgID string) (Tree, error) {
	if err := require(who, orgID); err != nil {
		return Tree{}, err
	}
	folders, err := readFolders(ctx, s.db.Reader(), orgID)
	if err != nil {
		return Tree{}, err
	}
	root, err := countNotesIn(ctx, s.db.Reader(), orgID, folders)
	return Tree{Folders: folders, RootNotes: root}, err
}

// CreateFolder makes a folder and those around it that aren't there yet. 409 when it is there already.
func (s *Service) CreateFolder(ctx context.Context, who access.Subject, p FolderParams) (Folder, error) {
	if err := require(who, p.OrgID); err != nil {
		return Folder{}, err
	}
	path, err := cleanPath(p.Path)
	if err == nil && path == rootPath {
		err = errors.New("must name a folder, as in /guides/go")
	}
	if err != nil {
		return Folder{}, fault.InvalidField("path", "%s", err.Error())
	}
	var made Folder
	for range createTries {
		err = s.db.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
			folders, err := holdFoldersTx(ctx, tx, p.OrgID)
			if err != nil {
				return err
			}
			made, err = s.makeTx(ctx, tx, who, p, path, folders)
			return err
		})
		if !errors.Is(err, db.ErrUnique) {
			return made, err
		}
	}
	return made, errFolderThere
}

// createTries is how often a folder is made anew because somebody made one of those around it, which nobody could hold yet.
const createTries = 8

var errFolderThere = fault.New(fault.Conflict, "path: there is such a folder already")

func (s *Service) makeTx(ctx context.Context, tx *db.Tx, who access.Subject, p FolderParams, path string, folders []Folder) (Folder, error) {
	var around Folder
	around.Live = true
	names := strings.Split(path[1:], "/")
	now := db.Time(s.db.Clock().Millis())
	have := len(folders)
	for i, name := range names {
		at := "/" + strings.Join(names[:i+1], "/")
		if k := slices.IndexFunc(folders, func(f Folder) bool { return f.Path == at }); k >= 0 {
			if i == len(names)-1 {
				return Folder{}, errFolderThere
			}
			around = folders[k]
			continue
		}
		if have++; have > MaxFolders {
			return Folder{}, fault.New(fault.Conflict, "path: there are %d folders already; delete some first", MaxFolders)
		}
		f := Folder{
			ID: id.New(id.Folder), OrgID: p.OrgID, ParentID: around.ID, Name: name, Path: at, Enabled: true, CreatedAt: now, UpdatedAt: now,
		}
		if i == len(names)-1 && p.Enabled != nil {
			f.Enabled = *p.Enabled
		}
		f.Live = f.Enabled && around.Live
		if err := insertFolder(ctx, tx, f); err != nil {
			return Folder{}, err
		}
		if err := f.recordTx(ctx, tx, who, audit.CreateFolder); err != nil {
			return Folder{}, err
		}
		around = f
	}
	return around, nil
}

func (f Folder) recordTx(ctx context.Context, tx *db.Tx, who access.Subject, action audit.Action) error {
	return audit.RecordTx(ctx, tx, who, f.UpdatedAt.UnixMilli(), audit.Entry{
		Action: action, OrgID: f.OrgID, Data: map[string]any{"folder_id": f.ID, "path": f.Path, "is_enabled": f.Enabled},
	})
}

// UpdateFolder renames a folder or switches it, and with it every note below.
func (s *Service) UpdateFolder(ctx context.Context, who access.Subject, p FolderParams) (Folder, error) {
	if err := require(who, p.OrgID); err != nil {
		return Folder{}, err
	}
	if p.Name != nil {
		if err := checkName(*p.Name); err != nil {
			return Folder{}, fault.InvalidField("name", "%s", err.Error())
		}
	}
	var changed Folder
	err := s.db.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		before, err := holdFoldersTx(ctx, tx, p.OrgID)
		if err != nil {
			return err
		}
		after := slices.Clone(before)
		k := slices.IndexFunc(after, func(f Folder) bool { return f.ID == p.FolderID })
		if k < 0 {
			return errFolder
		}
		after[k].UpdatedAt = db.Time(s.db.Clock().Millis())
		if p.Name != nil {
			after[k].Name = *p.Name
		}
		if p.Enabled != nil {
			after[k].Enabled = *p.Enabled
		}
		settle(after)
		for i := range after {
			if after[i] != before[i] {
				if err := updateFolder(ctx, tx, after[i]); err != nil {
					return err
				}
			}
		}
		changed = after[k]
		if _, err := countNotesIn(ctx, tx, p.OrgID, after[k:k+1]); err != nil {
			return err
		}
		changed.Notes = after[k].Notes
		return changed.recordTx(ctx, tx, who, audit.UpdateFolder)
	})
	if errors.Is(err, db.ErrUnique) {
		err = fault.Wrap(err, fault.Conflict, "name: there is such a folder already")
	}
	return changed, err
}

// settle reckons every folder's path and whether it is live from names, parents and switches. Parents come before their children,
// because a path begins with its parent's.
func settle(folders []Folder) {
	at := make(map[string]*Folder, len(folders))
	for i := range folders {
		f := &folders[i]
		f.Path, f.Live = "/"+f.Name, f.Enabled
		if around := at[f.ParentID]; around != nil {
			f.Path, f.Live = around.Path+f.Path, around.Live && f.Enabled
		}
		at[f.ID] = f
	}
}

// DeleteFolder removes a folder that is empty: 409 while notes or folders are in it.
func (s *Service) DeleteFolder(ctx context.Context, who access.Subject, orgID, folderID string) (Folder, error) {
	if err := require(who, orgID); err != nil {
		return Folder{}, err
	}
	var f Folder
	err := s.db.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		folders, err := holdFoldersTx(ctx, tx, orgID)
		if err != nil {
			return err
		}
		k := slices.IndexFunc(folders, func(f Folder) bool { return f.ID == folderID })
		if k < 0 {
			return errFolder
		}
		if _, err := countNotesIn(ctx, tx, orgID, folders[k:k+1]); err != nil {
			return err
		}
		f = folders[k]
		if f.Notes > 0 || slices.ContainsFunc(folders, func(c Folder) bool { return c.ParentID == folderID }) {
			return fault.New(fault.Conflict, "the folder isn't empty; move or delete what is in it first")
		}
		if err := removeFolder(ctx, tx, folderID); err != nil {
			return err
		}
		f.UpdatedAt = db.Time(s.db.Clock().Millis())
		return f.recordTx(ctx, tx, who, audit.DeleteFolder)
	})
	return f, err
}

// sortFolders sorts by path, name by name, so that a parent comes right before what is in it whatever the engine's order of letters.
func sortFolders(folders []Folder) {
	slices.SortFunc(folders, func(a, b Folder) int {
		return cmp.Or(slices.Compare(strings.Split(a.Path, "/"), strings.Split(b.Path, "/")), cmp.Compare(a.ID, b.ID))
	})
}
