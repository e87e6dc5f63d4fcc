"""Layouts read back from trees written as the releases lie on disk, the paper's clip draw, errors naming the line."""

import pickle
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from model.affwild2 import ClipPlace, ClipSampler, evaluation_clips, read_affwild2
from model.datasets import AFFECTNET_COLUMNS, Layout, Split, Still, read_stills
from model.errors import DatasetError
from model.image_tree import ImageTree, resize_to
from model.labels import EMOTIONS, Emotion
from tests.model.miniature import colour_crop, write_affwild2, write_annotation, write_image, write_video


def emotions_by_name(stills: list[Still]) -> dict[str, Emotion]:
    return {Path(still.name).name: EMOTIONS[still.label] for still in stills}


@pytest.fixture
def affwild2(tmp_path: Path) -> Path:
    return write_affwild2(tmp_path / "affwild2")


def test_read_affwild2_pairs_each_crop_with_the_label_of_its_frame(tmp_path: Path) -> None:
    write_video(tmp_path, "Train_Set", "a", [0, 4, -1, 6], faceless=(2,))

    tree, (video,) = read_affwild2(tmp_path, Split.TRAIN)

    assert video.frames.tolist() == [1, 3, 4]
    assert video.labels.tolist() == [0, -1, 6]
    assert tree.image(video.crops[2]).shape == (32, 32, 3)


def test_read_affwild2_keeps_the_second_person_apart_but_knows_the_recording(affwild2: Path) -> None:
    _, videos = read_affwild2(affwild2, Split.VALIDATION)

    assert [video.name for video in videos] == ["video8", "video8_right"]
    assert {video.source for video in videos} == {"video8"}


def test_read_affwild2_takes_surplus_crops_as_unlabelled(tmp_path: Path) -> None:
    write_video(tmp_path, "Train_Set", "a", [3, 3, 3])
    write_annotation(tmp_path, "Train_Set", "a", [3, 3])

    _, (video,) = read_affwild2(tmp_path, Split.TRAIN)

    assert video.labels.tolist() == [3, 3, -1]


def test_read_affwild2_reads_the_later_releases_other_as_unlabelled(tmp_path: Path) -> None:
    write_video(tmp_path, "Train_Set", "a", [3, 3])
    path = tmp_path / "annotations/EXPR_Set/Train_Set/a.txt"
    path.write_text("Neutral,Anger,Disgust,Fear,Happiness,Sadness,Surprise,Other\n3\n7\n")

    _, (video,) = read_affwild2(tmp_path, Split.TRAIN)

    assert video.labels.tolist() == [3, -1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"a\.txt, line 1: expected the header .*, got an empty file"),
        ("Anger,Neutral\n0\n", r"a\.txt, line 1: expected the header .*, got 'Anger,Neutral'"),
        (
            "Neutral,Anger,Disgust,Fear,Happiness,Sadness,Surprise\n0\n7\n",
            r"line 3: expected a label in 0\.\.6, .*7",
        ),
        ("Neutral,Anger,Disgust,Fear,Happiness,Sadness,Surprise\n0\n\n1\n", r"line 3: expected a label .* got ''"),
        ("Neutral,Anger,Disgust,Fear,Happiness,Sadness,Surprise\n-2\n", r"line 2: .* got '-2'"),
        ("Neutral,Anger,Disgust,Fear,Happiness,Sadness,Surprise\nhappy\n", r"line 2: .* got 'happy'"),
    ],
)
def test_read_affwild2_names_file_and_line_of_a_malformed_annotation(
    tmp_path: Path, content: str, message: str
) -> None:
    write_video(tmp_path, "Train_Set", "a", [0, 0])
    (tmp_path / "annotations/EXPR_Set/Train_Set/a.txt").write_text(content)

    with pytest.raises(DatasetError, match=message):
        read_affwild2(tmp_path, Split.TRAIN)


def test_read_affwild2_says_which_crops_are_missing(tmp_path: Path) -> None:
    write_annotation(tmp_path, "Train_Set", "lost", [0])

    with pytest.raises(DatasetError, match=r"cropped_aligned/lost: expected crops .*lost\.txt, got none"):
        read_affwild2(tmp_path, Split.TRAIN)


def test_clips_are_runs_of_consecutive_frames_that_all_have_a_face_and_a_label(affwild2: Path) -> None:
    _, videos = read_affwild2(affwild2, Split.TRAIN)
    sampler = ClipSampler(videos, seed=1)

    places = [sampler.draw(i)[0] for i in range(300)]

    for place in places:
        frames = videos[place.video].frames[place.start : place.start + 8]
        assert np.diff(frames).tolist() == [1] * 7
        assert (videos[place.video].labels[place.start : place.start + 8] >= 0).all()


def test_clips_come_from_every_video_with_equal_probability_however_long_it_is(affwild2: Path) -> None:
    _, videos = read_affwild2(affwild2, Split.TRAIN)
    sampler = ClipSampler(videos, seed=1)

    drawn = Counter(videos[sampler.draw(i)[0].video].name for i in range(5000))

    assert sampler.drawable_videos == 5
    assert set(drawn) == {"video0", "video1", "video2", "video3", "video4_left"}
    assert all(abs(count - 1000) < 5 * np.sqrt(5000 * 0.2 * 0.8) for count in drawn.values())


def test_a_clip_depends_on_seed_and_number_alone(affwild2: Path) -> None:
    _, videos = read_affwild2(affwild2, Split.TRAIN)
    first, second, other = (ClipSampler(videos, seed=seed) for seed in (1, 1, 2))

    in_order = [first.draw(i)[0] for i in range(20)]
    backwards = [second.draw(i)[0] for i in reversed(range(20))][::-1]

    assert in_order == backwards
    assert in_order != [other.draw(i)[0] for i in range(20)]


def test_clip_sampler_refuses_a_set_without_a_single_run(tmp_path: Path) -> None:
    write_video(tmp_path, "Train_Set", "short", [1] * 7)

    with pytest.raises(DatasetError, match="expected a video with 8 consecutive frames"):
        ClipSampler(read_affwild2(tmp_path, Split.TRAIN)[1], seed=0)


def test_evaluation_clips_hold_every_frame_once_in_order(affwild2: Path) -> None:
    _, videos = read_affwild2(affwild2, Split.VALIDATION)

    clips = evaluation_clips(videos)

    assert clips[:5] == [ClipPlace(0, start, 8) for start in (0, 8, 16, 24, 32)]
    assert clips[5:] == [ClipPlace(1, 0, 8), ClipPlace(1, 8, 8), ClipPlace(1, 16, 5)]


def write_affectnet_csv(root: Path, rows: list[str], *, header: bool = True) -> None:
    (root / "training.csv").write_text("\n".join(([",".join(AFFECTNET_COLUMNS)] if header else []) + rows) + "\n")


@pytest.mark.parametrize("header", [True, False])
def test_affectnet_table_maps_its_own_label_order_and_leaves_out_the_rest(tmp_path: Path, header: bool) -> None:
    codes = {0: "neutral", 1: "happiness", 2: "sadness", 3: "surprise", 4: "fear", 5: "disgust", 6: "anger"}
    write_affectnet_csv(
        tmp_path, [f"689/{code}.jpg,0,0,32,32,1;2,{code},-0.1,0.2" for code in range(11)], header=header
    )
    write_image(tmp_path / "Manually_Annotated_Images" / "689" / "0.jpg", colour_crop(0))

    stills = read_stills(tmp_path, Layout.AFFECTNET, split=Split.TRAIN)

    assert emotions_by_name(stills) == {f"{code}.jpg": Emotion(name) for code, name in codes.items()}


def test_affectnet_table_cuts_the_face_out_of_the_photo(tmp_path: Path) -> None:
    photo = np.zeros((60, 80, 3), np.uint8)
    photo[20:50, 30:70] = 255
    write_image(tmp_path / "Manually_Annotated_Images" / "a.png", photo)
    write_affectnet_csv(tmp_path, ["a.png,30,20,40,30,1;2,1,0,0"])

    (still,) = read_stills(tmp_path, Layout.AFFECTNET, split=Split.TRAIN)

    assert still.image().shape == (30, 40, 3)
    assert still.image().min() == 255


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a.png,30,20,40", r"training\.csv, line 2: expected 9 columns .* got 4"),
        ("a.png,30,20,40,30,1;2,12,0,0", r"line 2: expected a label in 0\.\.10, got '12'"),
        ("a.png,x,20,40,30,1;2,1,0,0", r"line 2: expected numbers in face_x"),
        ("lost.png,0,0,40,30,1;2,1,0,0", r"line 2: expected the picture lost\.png in one of"),
    ],
)
def test_affectnet_table_names_the_malformed_line(tmp_path: Path, row: str, message: str) -> None:
    write_affectnet_csv(tmp_path, [row])

    with pytest.raises(DatasetError, match=message):
        read_stills(tmp_path, Layout.AFFECTNET, split=Split.TRAIN)


def test_affectnet_folders_pair_pictures_with_npy_labels(tmp_path: Path) -> None:
    for number, code in enumerate(("1", "6", "7")):
        write_image(tmp_path / "val_set" / "images" / f"{number}.jpg", colour_crop(0))
        (tmp_path / "val_set" / "annotations").mkdir(exist_ok=True)
        np.save(tmp_path / "val_set" / "annotations" / f"{number}_exp.npy", np.array(code))

    stills = read_stills(tmp_path, Layout.AFFECTNET, split=Split.VALIDATION)

    assert emotions_by_name(stills) == {"0.jpg": Emotion.HAPPINESS, "1.jpg": Emotion.ANGER}


def write_raf_db(root: Path, lines: list[str]) -> None:
    (root / "EmoLabel").mkdir(parents=True)
    (root / "EmoLabel" / "list_patition_label.txt").write_text("\n".join(lines) + "\n")
    for line in lines:
        write_image(root / "Image" / "aligned" / f"{line.split('.')[0]}_aligned.jpg", colour_crop(0))


def test_raf_db_maps_its_own_label_order(tmp_path: Path) -> None:
    names = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")
    write_raf_db(tmp_path, [f"train_{code:05}.jpg {code}" for code in range(1, 8)] + ["test_0001.jpg 4"])

    train = read_stills(tmp_path, Layout.RAF_DB, split=Split.TRAIN)
    validation = read_stills(tmp_path, Layout.RAF_DB, split=Split.VALIDATION)

    assert emotions_by_name(train) == {
        f"train_{code:05}_aligned.jpg": Emotion(name) for code, name in enumerate(names, start=1)
    }
    assert emotions_by_name(validation) == {"test_0001_aligned.jpg": Emotion.HAPPINESS}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("train_1.jpg 0", r"list_patition_label\.txt, line 1: expected a label in 1\.\.7, got '0'"),
        ("train_1.jpg", r"line 1: expected '<picture> <label>'"),
    ],
)
def test_raf_db_names_the_malformed_line(tmp_path: Path, line: str, message: str) -> None:
    write_raf_db(tmp_path, [line])

    with pytest.raises(DatasetError, match=message):
        read_stills(tmp_path, Layout.RAF_DB, split=Split.TRAIN)


@pytest.fixture
def class_folders(tmp_path: Path) -> Path:
    root = tmp_path / "folders"
    for name in ("Happy/a.png", "train/sadness/b.png", "fearful/person1/c.png", "contempt/d.png", ".hidden/e.png"):
        write_image(root / name, colour_crop(2))
    (root / "README.txt").write_text("not a picture")
    return root


EXPECTED_OF_CLASS_FOLDERS = {"a.png": Emotion.HAPPINESS, "b.png": Emotion.SADNESS, "c.png": Emotion.FEAR}


def test_class_folders_give_the_label_by_name(class_folders: Path) -> None:
    stills = read_stills(class_folders, Layout.CLASS_FOLDERS, split=Split.TRAIN)

    assert emotions_by_name(stills) == EXPECTED_OF_CLASS_FOLDERS


def test_a_zip_file_reads_like_the_folder_it_was_made_from(class_folders: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "faces.zip", "w") as archive:
        for path in class_folders.rglob("*.png"):
            archive.write(path, f"faces/{path.relative_to(class_folders)}")

    stills = read_stills(tmp_path / "faces.zip", Layout.CLASS_FOLDERS, split=Split.TRAIN)

    assert emotions_by_name(stills) == EXPECTED_OF_CLASS_FOLDERS
    np.testing.assert_array_equal(stills[0].image(), colour_crop(2))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(stills[0])).image(), colour_crop(2))


def test_a_picture_outside_any_class_folder_is_refused(tmp_path: Path) -> None:
    write_image(tmp_path / "misc" / "a.png", colour_crop(0))

    with pytest.raises(DatasetError, match=r"misc/a\.png: expected a folder named after its class .* got 'misc'"):
        read_stills(tmp_path, Layout.CLASS_FOLDERS, split=Split.TRAIN)


def test_an_empty_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="expected labelled pictures of the train split"):
        read_stills(tmp_path, Layout.CLASS_FOLDERS, split=Split.TRAIN)


def test_a_path_that_is_no_tree_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="expected a folder or a zip file, got nothing there"):
        ImageTree(tmp_path / "nowhere")


def test_a_damaged_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"no picture")

    with pytest.raises(DatasetError, match=r"a\.jpg: expected a picture, got 10 bytes"):
        ImageTree(tmp_path).image("a.jpg")


def test_resize_to_averages_instead_of_aliasing() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255

    assert np.abs(resize_to(stripes, height=16, width=16).astype(int) - 128).max() <= 1
