package data

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"
)

const text = "When the build breaks, look at the last green commit first, compare what changed in the lock file, and say in the pull request what you found. "

func hashOf(s string) string {
	h := sha256.Sum256([]byte(s))
	return hex.EncodeToString(h[:])
}

// loadTexts makes 30 notes in 3 folders, 10 playbooks and 5 schedules per organization, the same of the enterprise.
func (l *loader) loadTexts(ctx context.Context) error {
	for _, o := range append([]*org{{}}, l.orgs...) {
		if err := l.loadNotes(ctx, o); err != nil {
			return err
		}
		for i := range 10 {
			at := l.from.Add(time.Duration(l.rng.IntN(300)) * day)
			id, body := l.id("playbook-", at), strings.Repeat(text, 1+l.rng.IntN(6))
			if err := l.put(ctx, "playbooks", id, o.id, at.UnixMilli(), at.UnixMilli(), l.world.User, l.world.User, fmt.Sprintf("!step-%d", i),
				fmt.Sprintf("Playbook %d", i), len(body), hashOf(body), body); err != nil {
				return err
			}
			o.playbooks = append(o.playbooks, id)
		}
		if o.id == "" {
			l.world.EnterprisePlaybook = o.playbooks[0]
			continue
		}
		for i := range 5 {
			at := l.from.Add(time.Duration(l.rng.IntN(300)) * day)
			id := l.id("sched-", at)
			// Nothing fires from here: the next run is never.
			if err := l.put(ctx, "schedules", id, o.id, fmt.Sprintf("Schedule %d", i), "Look at the tests of the parser.", "recurring", "0 9 * * *",
				1, 0, "devin", 0, "never", at.UnixMilli(), at.UnixMilli(), 1, 0); err != nil {
				return err
			}
			o.schedules = append(o.schedules, id)
		}
	}
	l.world.Playbook, l.world.Schedule = l.orgs[0].playbooks[0], l.orgs[0].schedules[0]
	return nil
}

func (l *loader) loadNotes(ctx context.Context, o *org) error {
	at := l.from
	var folders []string
	for f := range 3 {
		id := l.id("folder-", at)
		folders = append(folders, id)
		name := fmt.Sprintf("guides-%d", f)
		if err := l.put(ctx, "knowledge_folders", id, o.id, name, "/"+name, 1, 1, at.UnixMilli(), at.UnixMilli()); err != nil {
			return err
		}
	}
	for i := range 30 {
		at := l.from.Add(time.Duration(l.rng.IntN(300)) * day)
		id, name, body := l.id("note-", at), fmt.Sprintf("Note %d", i), strings.Repeat(text, 1+l.rng.IntN(6))
		if i == 7 {
			body += "The needle is in here."
		}
		var folder, repo any
		if i%2 == 0 {
			folder = folders[i%3]
		}
		if i%10 == 0 {
			repo = repoName(i)
		}
		if err := l.put(ctx, "knowledge_notes", id, o.id, at.UnixMilli(), at.UnixMilli(), folder, 1, repo, name, "when the build breaks",
			len(body), hashOf(body), body, strings.ToLower(name+"\nwhen the build breaks\n"+body)); err != nil {
			return err
		}
		if o == l.orgs[0] {
			l.world.Note = id
		}
	}
	l.world.Folder = "/guides-0"
	return nil
}

func repoName(n int) string { return fmt.Sprintf("acme/service-%04d", n) }

// loadRepos makes connections with 5,000 repositories, of which each organization may use one group.
func (l *loader) loadRepos(ctx context.Context) error {
	at := l.from.UnixMilli()
	var ids []string
	for c := range l.scaled(20) {
		id := l.id("git-connection-", l.from.Add(time.Duration(c)*time.Minute))
		ids = append(ids, id)
		if err := l.put(ctx, "git_connections", id, fmt.Sprintf("git %d", c), "git", fmt.Sprintf("git%d.example.com", c), "", "", "", 0, at, at); err != nil {
			return err
		}
		for r := range 250 {
			p := repoName(r)
			if err := l.put(ctx, "git_repositories", id, p, p, p, fmt.Sprintf("https://git%d.example.com/%s.git", c, p), p, at, at); err != nil {
				return err
			}
		}
	}
	l.world.Connection, l.world.Repo = ids[0], repoName(0)
	for i, o := range l.orgs {
		for r := range 20 {
			o.repos = append(o.repos, repoName((i+r)%250))
		}
		for p := range 3 {
			v := []string{"acme/", "team/", "lib/"}[p]
			if err := l.put(ctx, "git_permissions", l.id("git-permission-", l.from.Add(time.Duration(p)*time.Minute)), o.id, ids[i%len(ids)], "group", v, v, 0,
				at); err != nil {
				return err
			}
		}
	}
	l.world.Repo = l.orgs[0].repos[0]
	return nil
}
