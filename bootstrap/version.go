package bootstrap

import (
	"fmt"
	"runtime/debug"
)

// version describes what was built, from what the toolchain recorded in the binary.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "raftmetrics (built without module information)"
	}
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	text := "raftmetrics " + info.Main.Version
	if revision := settings["vcs.revision"]; revision != "" {
		text += ", commit " + revision
		if settings["vcs.modified"] == "true" {
			text += " with local changes"
		}
		text += " of " + settings["vcs.time"]
	}
	return text + fmt.Sprintf(", %s %s/%s", info.GoVersion, settings["GOOS"], settings["GOARCH"])
}
