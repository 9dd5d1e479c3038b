// Command plain is the least server that one writes in Go on SQLite: what start, memory and size are held against.
package main

import (
	"database/sql"
	"flag"
	"log/slog"
	"net/http"
	"os"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"
)

func main() {
	database := flag.String("database", "", "file")
	listen := flag.String("listen", "127.0.0.1:0", "address")
	flag.Parse()
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	if err := serve(*database, *listen, log); err != nil {
		log.Error("ended", "error", err)
		os.Exit(1)
	}
}

func serve(database, listen string, log *slog.Logger) error {
	db, err := sql.Open("sqlite", "file:"+database+"?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)")
	if err != nil {
		return err
	}
	var n int
	if err := db.QueryRow(`SELECT count(*) FROM organizations`).Scan(&n); err != nil {
		return err
	}
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		var n int
		if err := db.QueryRowContext(r.Context(), `SELECT count(*) FROM organizations`).Scan(&n); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	log.Info("ready", "organizations", n)
	server := http.Server{Addr: listen, ReadHeaderTimeout: 10 * time.Second}
	return server.ListenAndServe()
}
