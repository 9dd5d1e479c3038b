package v3

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"gantry/internal/access"
	"gantry/internal/kit"
	"gantry/internal/knowledge"
)

func init() { registrations = append(registrations, registerKnowledge) }

// KnowledgeNoteResponse is a note. Times are Unix seconds.
type KnowledgeNoteResponse struct {
	NoteID     string  `json:"note_id"`
	AccessType string  `json:"access_type" enum:"enterprise,org" doc:"Whose the note is."`
	OrgID      *string `json:"org_id" doc:"Null for a note of the enterprise."`
	FolderID   *string `json:"folder_id"`
	FolderPath string  `json:"folder_path" doc:"As in /guides/go; / outside every folder."`
	Name       string  `json:"name"`
	Body       string  `json:"body"`
	Trigger    string  `json:"trigger" doc:"When the note applies."`
	PinnedRepo *string `json:"pinned_repo" doc:"The repository whose sessions always get the note; all for every session."`
	Macro      *string `json:"macro"`
	IsEnabled  bool    `json:"is_enabled" doc:"The note's own switch; a folder may switch it off all the same."`
	CreatedAt  int64   `json:"created_at"`
	UpdatedAt  int64   `json:"updated_at"`
}

// KnowledgeNoteCreateRequest is a whole note, also to replace one: what is left out or null is cleared.
type KnowledgeNoteCreateRequest struct {
	Name       string               `json:"name" minLength:"1" maxLength:"256"`
	Body       string               `json:"body" minLength:"1" doc:"At most 262144 bytes."`
	Trigger    string               `json:"trigger" minLength:"1" doc:"When the note applies; at most 4096 bytes."`
	FolderID   kit.Optional[string] `json:"folder_id,omitempty" doc:"Null for no folder. Refused with 400 on the enterprise's routes."`
	PinnedRepo kit.Optional[string] `json:"pinned_repo,omitempty" maxLength:"300" doc:"A repository, or all."`
	IsEnabled  kit.Optional[bool]   `json:"is_enabled,omitempty" doc:"True when left out."`
}

// FolderTreeResponse is a flat list of folders, sorted by path.
type FolderTreeResponse struct {
	Folders       []FolderSummary `json:"folders"`
	RootNoteCount int64           `json:"root_note_count" doc:"Notes outside every folder."`
}

// FolderSummary is one folder.
type FolderSummary struct {
	FolderID       string  `json:"folder_id"`
	Name           string  `json:"name"`
	Path           string  `json:"path"`
	ParentFolderID *string `json:"parent_folder_id"`
	NoteCount      int64   `json:"note_count" doc:"Notes directly inside."`
}

// KnowledgeFilter narrows a list of notes.
type KnowledgeFilter struct {
	kit.PageInput
	Search     string `query:"search" maxLength:"1000" doc:"Text in name, trigger or body, whatever the case."`
	FolderPath string `query:"folder_path" maxLength:"2000" doc:"One folder, without those below it; / for notes outside every folder."`
	PinnedRepo string `query:"pinned_repo" maxLength:"300"`
}

func noteOf(n knowledge.Note) KnowledgeNoteResponse {
	return KnowledgeNoteResponse{
		NoteID: n.ID, AccessType: n.AccessType(), OrgID: kit.NullText(n.OrgID), FolderID: kit.NullText(n.FolderID), FolderPath: n.FolderPath,
		Name: n.Name, Body: n.Body, Trigger: n.Trigger, PinnedRepo: kit.NullText(n.PinnedRepo), Macro: kit.NullText(n.Macro),
		IsEnabled: n.Enabled, CreatedAt: n.CreatedAt.Unix(), UpdatedAt: n.UpdatedAt.Unix(),
	}
}

type noteOutput struct{ Body KnowledgeNoteResponse }

func noteAnswer(n knowledge.Note, err error) (*noteOutput, error) {
	if err != nil {
		return nil, err
	}
	return &noteOutput{Body: noteOf(n)}, nil
}

// NotePath names one note.
type NotePath struct {
	NoteID string `path:"note_id" maxLength:"256" doc:"Note id."`
}

func (r *KnowledgeNoteCreateRequest) params(orgID, noteID string) knowledge.NoteParams {
	return knowledge.NoteParams{
		OrgID: orgID, NoteID: noteID, Name: r.Name, Body: r.Body, Trigger: r.Trigger, FolderID: r.FolderID.Or(""),
		PinnedRepo: r.PinnedRepo.Or(""), Enabled: r.IsEnabled.Ptr(),
	}
}

// textBody is the largest body of a request that carries a note's or playbook's text: JSON may take six bytes for one.
const textBody = 2 << 20

// twin is one of the two families of routes that a resource has: an organization's, and the enterprise's. kit.Org is empty on the latter.
type twin struct {
	prefix, infix string // of paths and operation ids
	any           []access.Permission
	enterprise    bool
}

func twins(collection string, inOrg, enterprise access.Permission) []twin {
	return []twin{
		{"/v3/organizations/{org_id}/" + collection, "", []access.Permission{inOrg, enterprise}, false},
		{"/v3/enterprise/" + collection, "Enterprise", []access.Permission{enterprise}, true},
	}
}

func (f twin) op(verb, what, method, path, summary, tag string) kit.Op {
	op := kit.Op{
		Operation: huma.Operation{
			OperationID: verb + f.infix + what, Method: method, Path: f.prefix + path, Summary: summary, Tags: []string{tag},
			DefaultStatus: http.StatusOK,
		},
		Any: f.any, Enterprise: f.enterprise,
	}
	if !f.enterprise {
		op.Operation.Parameters = []*huma.Param{orgParam}
	}
	return op
}

func registerKnowledge(a *kit.API, rooms Rooms) {
	d := knowledgeDoor{rooms.Knowledge}
	for _, f := range twins("knowledge", access.ManageOrgKnowledge, access.ManageAccountKnowledge) {
		d.registerReads(a, f)
		d.registerWrites(a, f)
	}
}

type knowledgeDoor struct{ k *knowledge.Service }

type notePageOutput struct {
	Body kit.Page[KnowledgeNoteResponse]
}

func (d knowledgeDoor) list(ctx context.Context, s access.Subject, in *KnowledgeFilter, accessType string) (*notePageOutput, error) {
	r, err := kit.OpenPage(ctx, in.PageInput)
	if err != nil {
		return nil, err
	}
	p, err := d.k.List(ctx, s, knowledge.Filter{
		OrgID: kit.Org(ctx), AccessType: accessType, Search: in.Search, FolderPath: in.FolderPath, PinnedRepo: in.PinnedRepo,
	}, r)
	if err != nil {
		return nil, err
	}
	return &notePageOutput{Body: kit.ClosePage(ctx, p, noteOf)}, nil
}

func (d knowledgeDoor) registerReads(a *kit.API, f twin) {
	list := f.op("list", "Notes", http.MethodGet, "/notes", "List notes, oldest first", "knowledge")
	list.Operation.Description = "The organization's own notes, then the enterprise's. A page of long notes may hold fewer than asked for."
	if f.enterprise {
		list.Operation.Description = "Every note there is, of the enterprise and of organizations. A page of long notes may hold fewer than asked for."
		kit.Register(a, list, func(ctx context.Context, s access.Subject, in *struct {
			KnowledgeFilter
			AccessType string `query:"access_type" enum:"org,enterprise" doc:"Only notes of organizations, or of the enterprise."`
		},
		) (*notePageOutput, error) {
			return d.list(ctx, s, &in.KnowledgeFilter, in.AccessType)
		})
	} else {
		kit.Register(a, list, func(ctx context.Context, s access.Subject, in *KnowledgeFilter) (*notePageOutput, error) {
			return d.list(ctx, s, in, "")
		})
	}
	kit.Register(a, f.op("get", "Note", http.MethodGet, "/notes/{note_id}", "Read a note", "knowledge"),
		func(ctx context.Context, s access.Subject, in *NotePath) (*noteOutput, error) {
			return noteAnswer(d.k.Get(ctx, s, kit.Org(ctx), in.NoteID))
		})
	type treeOutput struct{ Body FolderTreeResponse }
	kit.Register(a, f.op("list", "KnowledgeFolders", http.MethodGet, "/folders", "Read the folders", "knowledge"),
		func(ctx context.Context, s access.Subject, _ *struct{}) (*treeOutput, error) {
			t, err := d.k.Tree(ctx, s, kit.Org(ctx))
			if err != nil {
				return nil, err
			}
			out := FolderTreeResponse{Folders: make([]FolderSummary, len(t.Folders)), RootNoteCount: t.RootNotes}
			for i, f := range t.Folders {
				out.Folders[i] = FolderSummary{
					FolderID: f.ID, Name: f.Name, Path: f.Path, ParentFolderID: kit.NullText(f.ParentID), NoteCount: f.Notes,
				}
			}
			return &treeOutput{Body: out}, nil
		})
}

func (d knowledgeDoor) registerWrites(a *kit.API, f twin) {
	create := f.op("create", "Note", http.MethodPost, "/notes", "Create a note", "knowledge")
	create.Creates = true
	create.Operation.MaxBodyBytes = textBody
	kit.Register(a, create, func(ctx context.Context, s access.Subject, in *struct{ Body KnowledgeNoteCreateRequest }) (*noteOutput, error) {
		return noteAnswer(d.k.Create(ctx, s, in.Body.params(kit.Org(ctx), "")))
	})
	replace := f.op("replace", "Note", http.MethodPut, "/notes/{note_id}", "Replace a note", "knowledge")
	replace.Operation.MaxBodyBytes = textBody
	replace.Operation.Description = "The body is the whole note: what is left out or null is cleared."
	kit.Register(a, replace, func(ctx context.Context, s access.Subject, in *struct {
		NotePath
		Body KnowledgeNoteCreateRequest
	},
	) (*noteOutput, error) {
		return noteAnswer(d.k.Replace(ctx, s, in.Body.params(kit.Org(ctx), in.NoteID)))
	})
	kit.Register(a, f.op("delete", "Note", http.MethodDelete, "/notes/{note_id}", "Delete a note", "knowledge"),
		func(ctx context.Context, s access.Subject, in *NotePath) (*noteOutput, error) {
			return noteAnswer(d.k.Delete(ctx, s, kit.Org(ctx), in.NoteID))
		})
}
