package config

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"gantry/internal/platform/secret"
)

// Worker is `gantry worker`: a machine that works on sessions for a server elsewhere.
type Worker struct {
	Server   string        `help:"Address of the server; https, or http to a loopback address." placeholder:"URL" env:"GANTRY_SERVER" group:"Worker"`
	Key      secret.String `help:"The worker's key (gwk_…)." placeholder:"KEY" env:"GANTRY_WORKER_KEY" group:"Worker"`
	KeyFile  string        `help:"File that holds the worker's key." placeholder:"FILE" type:"path" env:"GANTRY_WORKER_KEY_FILE" group:"Worker"`
	Outpost  string        `help:"Queue to take sessions from." default:"default" env:"GANTRY_OUTPOST" group:"Worker"`
	Name     string        `help:"Name shown to operators. Default: the host's name." env:"GANTRY_WORKER_NAME" group:"Worker"`
	Capacity int           `help:"Sessions worked on at once; 0 for four per processor." default:"0" env:"GANTRY_WORKER_CAPACITY" group:"Worker"`
	Dir      string        `help:"Directory of the workspaces. Default: worker in the data directory of the user." placeholder:"DIR" env:"GANTRY_WORKER_DIR" group:"Worker"`
	Sandbox  `embed:""`
	Log      `embed:""`
}

// Finish fills in what is derived, reads the key file and refuses what can't work.
func (w *Worker) Finish(src Sources) error {
	c := &checker{src: src}
	w.finishServer(c)
	w.finishKey(c)
	w.Sandbox.check(c)
	checkCapacity(c, "capacity", w.Capacity)
	if w.Outpost == "" {
		c.wrong("outpost", "Give the name of a queue, like default.", "it is empty")
	}
	if w.Name == "" {
		w.Name, _ = os.Hostname() // a machine without a name is shown by its id
	}
	if w.Dir == "" {
		w.Dir = filepath.Join(defaultData(), "worker")
	}
	abs, err := filepath.Abs(w.Dir)
	if err != nil || w.Dir == "worker" {
		c.wrong("dir", "Give an absolute path.", "there is no place for the workspaces")
	}
	w.Dir = abs
	return c.err()
}

func (w *Worker) finishServer(c *checker) {
	u, err := url.Parse(w.Server)
	switch {
	case w.Server == "":
		c.wrong("server", "Give --server https://… , the public address of `gantry serve`.", "no server is named")
	case err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http"):
		c.wrong("server", "Give an address like https://gantry.example.com.", "it is not an http or https address")
	case u.Scheme == "http" && !loopback(u.Hostname()):
		c.wrong("server", "Give the https address, or a loopback one.", "the worker's key would cross the network unencrypted")
	}
	w.Server = strings.TrimSuffix(w.Server, "/")
}

func (w *Worker) finishKey(c *checker) {
	if w.Key.IsZero() && w.KeyFile != "" {
		text, err := os.ReadFile(w.KeyFile)
		if err != nil {
			c.wrong("key-file", "Give a file that this user may read.", "the key file can't be read")
			return
		}
		w.Key = secret.New(strings.TrimSpace(string(text)))
	}
	if w.Key.IsZero() {
		c.wrong("key", "Make one with `gantry admin worker-key add NAME` and give it in GANTRY_WORKER_KEY or --key-file.", "the worker has no key")
	}
}
