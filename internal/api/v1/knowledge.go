package v1

import (
	"context"
	"net/http"

	"gantry/internal/access"
	"gantry/internal/api/older"
	"gantry/internal/kit"
	"gantry/internal/knowledge"
	"gantry/internal/platform/page"
)

func init() { registrations = append(registrations, registerKnowledge) }

// KnowledgeParams are a whole note: what is left out is cleared.
type KnowledgeParams struct {
	Name               string               `json:"name" minLength:"1" maxLength:"256"`
	Body               string               `json:"body" minLength:"1"`
	TriggerDescription string               `json:"trigger_description" minLength:"1"`
	Macro              kit.Optional[string] `json:"macro,omitempty"`
	ParentFolderID     kit.Optional[string] `json:"parent_folder_id,omitempty"`
	PinnedRepo         kit.Optional[string] `json:"pinned_repo,omitempty" doc:"null, all or owner/repo."`
}

func (b KnowledgeParams) params(ctx context.Context, noteID string) knowledge.NoteParams {
	return knowledge.NoteParams{
		OrgID: kit.Org(ctx), NoteID: noteID, Name: b.Name, Body: b.Body, Trigger: b.TriggerDescription, FolderID: b.ParentFolderID.Value,
		PinnedRepo: b.PinnedRepo.Value, Macro: new(b.Macro.Or("")),
	}
}

// KnowledgeCreatedBy is who made a note.
type KnowledgeCreatedBy struct {
	_ struct{} `nullable:"true"`

	FullName string  `json:"full_name"`
	ID       *string `json:"id"`
	ImageURL *string `json:"image_url"`
}

// KnowledgeEntry is a note. Who made it is in the audit log only.
type KnowledgeEntry struct {
	ID                 string              `json:"id"`
	Name               string              `json:"name"`
	Body               string              `json:"body"`
	TriggerDescription string              `json:"trigger_description"`
	CreatedAt          string              `json:"created_at"`
	CreatedBy          *KnowledgeCreatedBy `json:"created_by" doc:"Always null: the audit log says who made a note."`
	Macro              *string             `json:"macro"`
	ParentFolderID     *string             `json:"parent_folder_id"`
	PinnedRepo         *string             `json:"pinned_repo"`
}

func entryOf(n knowledge.Note) KnowledgeEntry {
	return KnowledgeEntry{
		ID: n.ID, Name: n.Name, Body: n.Body, TriggerDescription: n.Trigger, CreatedAt: older.Time(n.CreatedAt), Macro: kit.NullText(n.Macro),
		ParentFolderID: kit.NullText(n.FolderID), PinnedRepo: kit.NullText(n.PinnedRepo),
	}
}

// KnowledgeFolder is a folder of notes.
type KnowledgeFolder struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	Description string `json:"description" doc:"The folder's path."`
	CreatedAt   string `json:"created_at"`
}

// ListKnowledgeResponse is every note and folder that the organization sees.
type ListKnowledgeResponse struct {
	Knowledge []KnowledgeEntry  `json:"knowledge"`
	Folders   []KnowledgeFolder `json:"folders"`
}

type knowledgeListOutput struct{ Body ListKnowledgeResponse }

type knowledgeOutput struct{ Body KnowledgeEntry }

func knowledgeAnswer(n knowledge.Note, err error) (*knowledgeOutput, error) {
	if err != nil {
		return nil, err
	}
	return &knowledgeOutput{Body: entryOf(n)}, nil
}

// NotePath names a note.
type NotePath struct {
	NoteID string `path:"note_id" maxLength:"256"`
}

// noteNames are v1's names of a note's fields.
var noteNames = older.Names{"trigger": "trigger_description", "folder_id": "parent_folder_id"}

const notesSuccessor = "/v3/organizations/{org_id}/knowledge/notes"

func registerKnowledge(a *kit.API, rooms Rooms) {
	may := []access.Permission{access.ManageOrgKnowledge}
	kit.Register(a, op("listKnowledge", http.MethodGet, "/knowledge", "List notes and folders", "GET "+notesSuccessor, may...),
		func(ctx context.Context, who access.Subject, _ *struct{}) (*knowledgeListOutput, error) {
			return rooms.knowledge(ctx, who)
		})
	type createInput struct{ Body KnowledgeParams }
	create := op("createKnowledge", http.MethodPost, "/knowledge", "Make a note", "POST "+notesSuccessor, may...)
	create.Creates = true
	kit.Register(a, create, older.Naming(noteNames, func(ctx context.Context, who access.Subject, in *createInput) (*knowledgeOutput, error) {
		return knowledgeAnswer(rooms.Knowledge.Create(ctx, who, in.Body.params(ctx, "")))
	}))
	type updateInput struct {
		NotePath
		Body KnowledgeParams
	}
	kit.Register(a, op("updateKnowledge", http.MethodPut, "/knowledge/{note_id}", "Rewrite a note", "PUT "+notesSuccessor+"/{note_id}", may...),
		older.Naming(noteNames, func(ctx context.Context, who access.Subject, in *updateInput) (*knowledgeOutput, error) {
			return knowledgeAnswer(rooms.Knowledge.Replace(ctx, who, in.Body.params(ctx, in.NoteID)))
		}))
	kit.Register(a, op("deleteKnowledge", http.MethodDelete, "/knowledge/{note_id}", "Delete a note", "DELETE "+notesSuccessor+"/{note_id}", may...),
		func(ctx context.Context, who access.Subject, in *NotePath) (*detailOutput, error) {
			if _, err := rooms.Knowledge.Delete(ctx, who, kit.Org(ctx), in.NoteID); err != nil {
				return nil, err
			}
			return &detailOutput{Body: kit.ErrorDetail{Detail: "Knowledge deleted successfully"}}, nil
		})
}

func (r Rooms) knowledge(ctx context.Context, who access.Subject) (*knowledgeListOutput, error) {
	notes, err := older.All(func(p page.Request) (page.Page[knowledge.Note], error) {
		return r.Knowledge.List(ctx, who, knowledge.Filter{OrgID: kit.Org(ctx)}, p)
	})
	if err != nil {
		return nil, err
	}
	tree, err := r.Knowledge.Tree(ctx, who, kit.Org(ctx))
	if err != nil {
		return nil, err
	}
	out := &knowledgeListOutput{Body: ListKnowledgeResponse{Knowledge: make([]KnowledgeEntry, len(notes)), Folders: make([]KnowledgeFolder, len(tree.Folders))}}
	for i, n := range notes {
		out.Body.Knowledge[i] = entryOf(n)
	}
	for i, f := range tree.Folders {
		out.Body.Folders[i] = KnowledgeFolder{ID: f.ID, Name: f.Name, Description: f.Path, CreatedAt: older.Time(f.CreatedAt)}
	}
	return out, nil
}
