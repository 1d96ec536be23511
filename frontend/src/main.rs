//! The program.

fn main() -> std::process::ExitCode {
    frontend::cli::main()
}
