#include "tests/apps/program_folder.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

namespace puzzle::testing {
namespace {

void Redirect(const std::string& path, int descriptor) {
  ::dup2(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0666), descriptor);
}

}  // namespace

void ProgramFolder::Write(const std::string& name, const std::string& text) const {
  WriteBytes(folder_ / name, text);
}

std::string ProgramFolder::Read(const std::string& name) const {
  return ReadBytes(folder_ / name);
}

nlohmann::json ProgramFolder::ReadJson(const std::string& name) const {
  return nlohmann::json::parse(Read(name), nullptr, /*allow_exceptions=*/false);
}

pid_t ProgramFolder::Start(const std::vector<std::string>& arguments, const std::string& tag,
                           const std::function<void()>& prepare) const {
  std::vector<char*> argv = {const_cast<char*>(program_.c_str())};
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  const pid_t process = ::fork();
  if (process != 0) return process;
  if (::chdir(path().c_str()) != 0) ::_exit(99);
  Redirect(".stdout" + tag, STDOUT_FILENO);
  Redirect(".stderr" + tag, STDERR_FILENO);
  if (prepare) prepare();
  ::execv(argv[0], argv.data());
  ::_exit(98);
}

ProgramResult ProgramFolder::Finish(pid_t process, const std::string& tag) const {
  int status = 0;
  ::waitpid(process, &status, 0);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), OutputOf(tag),
          Read(".stderr" + tag)};
}

std::string ProgramFolder::OutputOf(const std::string& tag) const {
  return Read(".stdout" + tag);
}

size_t CountOf(const std::string& word, const std::string& text) {
  size_t count = 0;
  for (size_t at = 0; (at = text.find(word, at)) != std::string::npos; ++at) ++count;
  return count;
}

}  // namespace puzzle::testing
