// Package bootstrap makes a node out of its parts: configuration, wiring, start and stop.
package bootstrap
