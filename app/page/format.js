// Numbers as people read them.

export function formatTime(seconds, { decimals = 0 } = {}) {
  const whole = Math.max(0, seconds);
  const scale = 10 ** decimals;
  const rounded = Math.floor(whole * scale + 1e-6) / scale;
  const hours = Math.floor(rounded / 3600);
  const minutes = Math.floor(rounded / 60) % 60;
  const rest = (rounded % 60).toFixed(decimals).padStart(decimals ? 3 + decimals : 2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

// A span of time in words, as in "about 3 min".
export function formatDuration(seconds) {
  if (seconds < 1) return "a moment";
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

export function formatBytes(bytes) {
  if (bytes < 1e3) return `${bytes} bytes`;
  if (bytes < 1e6) return `${Math.round(bytes / 1e3)} kB`;
  if (bytes < 1e9) return `${(bytes / 1e6).toFixed(1)} MB`;
  return `${(bytes / 1e9).toFixed(2)} GB`;
}

export function formatShare(share) {
  const percent = share * 100;
  return percent > 0 && percent < 1 ? "< 1 %" : `${Math.round(percent)} %`;
}

export function formatCount(count) {
  return count.toLocaleString("en");
}

export function formatAge(iso) {
  const seconds = (Date.now() - Date.parse(iso)) / 1000;
  return seconds < 45 ? "just now" : `${formatDuration(seconds)} ago`;
}
