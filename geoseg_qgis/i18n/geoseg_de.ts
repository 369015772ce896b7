<?xml version="1.0" encoding="utf-8"?>
<!DOCTYPE TS>
<TS version="2.1" language="de">
<context>
    <name>GeoSeg</name>
    <message>
        <source>No new layer for outlines could be written.</source>
        <translation>Für die Umrisse konnte kein neuer Layer geschrieben werden.</translation>
    </message>
    <message>
        <source>Save the project in a folder that you may write to, or choose another layer.</source>
        <translation>Speichern Sie das Projekt in einem Ordner, in den Sie schreiben dürfen, oder wählen Sie einen anderen Layer.</translation>
    </message>
    <message>
        <source>{} - outlines</source>
        <translation>{} - Umrisse</translation>
    </message>
    <message>
        <source>Choose another layer, or a new one.</source>
        <translation>Wählen Sie einen anderen oder einen neuen Layer.</translation>
    </message>
    <message>
        <source>Accept outline</source>
        <translation>Umriss übernehmen</translation>
    </message>
    <message>
        <source>Choose a polygon layer, or a new one.</source>
        <translation>Wählen Sie einen Polygonlayer oder einen neuen.</translation>
    </message>
    <message>
        <source>Choose a layer in another CRS, or a new one.</source>
        <translation>Wählen Sie einen Layer in einem anderen KBS oder einen neuen.</translation>
    </message>
    <message>
        <source>The layer {!r} cannot be edited.</source>
        <translation>Der Layer {!r} kann nicht bearbeitet werden.</translation>
    </message>
    <message>
        <source>The layer {!r} does not take polygons.</source>
        <translation>Der Layer {!r} nimmt keine Polygone auf.</translation>
    </message>
    <message>
        <source>Check its constraints, or choose a new layer.</source>
        <translation>Prüfen Sie seine Bedingungen, oder wählen Sie einen neuen Layer.</translation>
    </message>
    <message>
        <source>The outline has no place in the CRS of the layer {!r}.</source>
        <translation>Der Umriss hat im KBS des Layers {!r} keinen Ort.</translation>
    </message>
    <message>
        <source>The layer {!r} does not take the outline.</source>
        <translation>Der Layer {!r} nimmt den Umriss nicht auf.</translation>
    </message>
    <message>
        <source>The engine for outlines stopped and was started anew.</source>
        <translation>Das Rechenprogramm für Umrisse ist stehen geblieben und wurde neu gestartet.</translation>
    </message>
    <message>
        <source>There is no outline to accept. Click an object first.</source>
        <translation>Es gibt keinen Umriss zum Übernehmen. Klicken Sie zuerst auf ein Objekt.</translation>
    </message>
    <message>
        <source>There is no imagery to click on. Choose a raster layer in the dock.</source>
        <translation>Es gibt kein Bild zum Klicken. Wählen Sie im Bedienfeld einen Rasterlayer.</translation>
    </message>
    <message>
        <source>The object has too many prompts. Accept the outline or clear it.</source>
        <translation>Das Objekt hat zu viele Hinweise. Übernehmen oder verwerfen Sie den Umriss.</translation>
    </message>
    <message>
        <source>Nothing was found there. Click elsewhere, or draw a box.</source>
        <translation>Dort wurde nichts gefunden. Klicken Sie anderswo, oder ziehen Sie ein Rechteck.</translation>
    </message>
    <message>
        <source>The outline was added to {!r}.</source>
        <translation>Der Umriss wurde zu {!r} hinzugefügt.</translation>
    </message>
    <message>
        <source>Zoom in and click again.</source>
        <translation>Zoomen Sie hinein, und klicken Sie noch einmal.</translation>
    </message>
    <message>
        <source>Too much of the layer {!r} is visible to copy it.</source>
        <translation>Vom Layer {!r} ist zu viel sichtbar, um es zu kopieren.</translation>
    </message>
    <message>
        <source>New layer</source>
        <translation>Neuer Layer</translation>
    </message>
    <message>
        <source>Layer for outlines</source>
        <translation>Layer für Umrisse</translation>
    </message>
    <message>
        <source>Accepted outlines are added to this layer. A new one is a GeoPackage in the folder of the project.</source>
        <translation>Übernommene Umrisse kommen in diesen Layer. Ein neuer ist ein GeoPackage im Ordner des Projekts.</translation>
    </message>
    <message>
        <source>Undo</source>
        <translation>Rückgängig</translation>
    </message>
    <message>
        <source>Take the last prompt back (Z)</source>
        <translation>Den letzten Hinweis zurücknehmen (Z)</translation>
    </message>
    <message>
        <source>Redo</source>
        <translation>Wiederherstellen</translation>
    </message>
    <message>
        <source>Give the prompt again (Ctrl+Y)</source>
        <translation>Den Hinweis wieder geben (Strg+Y)</translation>
    </message>
    <message>
        <source>Clear</source>
        <translation>Verwerfen</translation>
    </message>
    <message>
        <source>Forget all prompts (Esc)</source>
        <translation>Alle Hinweise vergessen (Esc)</translation>
    </message>
    <message>
        <source>Accept</source>
        <translation>Übernehmen</translation>
    </message>
    <message>
        <source>Add the outline to the layer (Enter)</source>
        <translation>Den Umriss in den Layer übernehmen (Eingabe)</translation>
    </message>
    <message>
        <source>Find all like this</source>
        <translation>Alle ähnlichen finden</translation>
    </message>
    <message>
        <source>Look for similar objects</source>
        <translation>Nach ähnlichen Objekten suchen</translation>
    </message>
    <message>
        <source>Click an object on the map. Right-click what does not belong to it.
Drag a box around it, or hold Shift and click around it.
Z takes the last step back, Enter accepts, Esc clears.</source>
        <translation>Klicken Sie auf der Karte auf ein Objekt, mit rechts auf das, was nicht dazugehört.
Ziehen Sie ein Rechteck darum, oder klicken Sie mit Umschalt um es herum.
Z nimmt den letzten Schritt zurück, Eingabe übernimmt, Esc verwirft.</translation>
    </message>
    <message>
        <source>Add to</source>
        <translation>Hinzufügen zu</translation>
    </message>
    <message>
        <source>Choose the imagery above.</source>
        <translation>Wählen Sie oben das Bild.</translation>
    </message>
    <message>
        <source>Outlining…</source>
        <translation>Umriss wird gesucht …</translation>
    </message>
    <message>
        <source>Score {:.0%}, prompts: {}</source>
        <translation>Güte {:.0%}, Hinweise: {}</translation>
    </message>
    <message>
        <source>GeoSeg</source>
        <translation>GeoSeg</translation>
    </message>
    <message>
        <source>Find</source>
        <translation>Finden</translation>
    </message>
    <message>
        <source>Review</source>
        <translation>Durchsehen</translation>
    </message>
    <message>
        <source>Jobs</source>
        <translation>Läufe</translation>
    </message>
    <message>
        <source>Imagery</source>
        <translation>Bild</translation>
    </message>
    <message>
        <source>Area</source>
        <translation>Gebiet</translation>
    </message>
    <message>
        <source>GeoSeg options</source>
        <translation>GeoSeg-Optionen</translation>
    </message>
    <message>
        <source>Model</source>
        <translation>Modell</translation>
    </message>
    <message>
        <source>Device</source>
        <translation>Gerät</translation>
    </message>
    <message>
        <source>Visible area</source>
        <translation>Sichtbares Gebiet</translation>
    </message>
    <message>
        <source>Whole layer</source>
        <translation>Ganzer Layer</translation>
    </message>
    <message>
        <source>Selected polygon (its extent)</source>
        <translation>Gewähltes Polygon (seine Ausdehnung)</translation>
    </message>
    <message>
        <source>Download {}</source>
        <translation>{} herunterladen</translation>
    </message>
    <message>
        <source>The engine starts when it is needed.</source>
        <translation>Das Rechenprogramm startet, wenn es gebraucht wird.</translation>
    </message>
    <message>
        <source>Jobs ({})</source>
        <translation>Läufe ({})</translation>
    </message>
    <message>
        <source>, {} free</source>
        <translation>, {} frei</translation>
    </message>
    <message>
        <source>GeoSeg asks its engine for devices and models</source>
        <translation>GeoSeg fragt nach Geräten und Modellen</translation>
    </message>
    <message>
        <source>Click</source>
        <translation>Klicken</translation>
    </message>
    <message>
        <source>Pixels less probable than this stay unclassified.</source>
        <translation>Weniger wahrscheinliche Pixel bleiben ohne Klasse.</translation>
    </message>
    <message>
        <source>Colour of {}</source>
        <translation>Farbe von {}</translation>
    </message>
    <message>
        <source>Threshold of {}</source>
        <translation>Schwelle von {}</translation>
    </message>
    <message>
        <source>Nothing of the imagery is visible. Zoom to the layer.</source>
        <translation>Vom Bild ist nichts zu sehen. Zoomen Sie auf den Layer.</translation>
    </message>
    <message>
        <source>Cancel</source>
        <translation>Abbrechen</translation>
    </message>
    <message>
        <source>Nothing of the imagery is visible or selected there.</source>
        <translation>Dort ist vom Bild nichts sichtbar oder gewählt.</translation>
    </message>
    <message>
        <source>The run is in the list of jobs.</source>
        <translation>Der Lauf steht in der Liste der Läufe.</translation>
    </message>
    <message>
        <source>Preview</source>
        <translation>Vorschau</translation>
    </message>
    <message>
        <source>Look at the visible area (Enter)</source>
        <translation>Das sichtbare Gebiet ansehen (Eingabe)</translation>
    </message>
    <message>
        <source>Take the preview off the map</source>
        <translation>Die Vorschau von der Karte nehmen</translation>
    </message>
    <message>
        <source>Copy the run as a command, or open it in its dialog</source>
        <translation>Den Lauf als Befehl kopieren oder in seinem Dialog öffnen</translation>
    </message>
    <message>
        <source>Copy as Python Command</source>
        <translation>Als Python-Befehl kopieren</translation>
    </message>
    <message>
        <source>Copy as qgis_process Command</source>
        <translation>Als qgis_process-Befehl kopieren</translation>
    </message>
    <message>
        <source>Open in the Dialog…</source>
        <translation>Im Dialog öffnen …</translation>
    </message>
    <message>
        <source>Choose the imagery to look at.</source>
        <translation>Wählen Sie das Bild, das angesehen werden soll.</translation>
    </message>
    <message>
        <source>Write what to find: classes with semicolons, or one sentence.</source>
        <translation>Schreiben Sie, was zu finden ist: Klassen mit Semikolons oder einen Satz.</translation>
    </message>
    <message>
        <source>The model does not know {}: its result is a guess.</source>
        <translation>Das Modell kennt {} nicht: Sein Ergebnis ist geraten.</translation>
    </message>
    <message>
        <source>Run on the visible area</source>
        <translation>Auf dem sichtbaren Gebiet starten</translation>
    </message>
    <message>
        <source>Run on the whole layer</source>
        <translation>Auf dem ganzen Layer starten</translation>
    </message>
    <message>
        <source>Run on the selected polygon</source>
        <translation>Auf dem gewählten Polygon starten</translation>
    </message>
    <message>
        <source>The preview was cancelled.</source>
        <translation>Die Vorschau wurde abgebrochen.</translation>
    </message>
    <message>
        <source>Preview of the visible area. Move the sliders to change it.</source>
        <translation>Vorschau des sichtbaren Gebiets. Die Regler verändern sie.</translation>
    </message>
    <message>
        <source>Looking at {:,.0f} m x {:,.0f} m …</source>
        <translation>{:,.0f} m x {:,.0f} m werden angesehen …</translation>
    </message>
    <message>
        <source>One instruction. Separate classes with semicolons.</source>
        <translation>Eine Anweisung. Trennen Sie Klassen mit Semikolons.</translation>
    </message>
    <message>
        <source>(about {})</source>
        <translation>(etwa {})</translation>
    </message>
    <message>
        <source>result</source>
        <translation>Ergebnis</translation>
    </message>
    <message>
        <source>Classes: {}</source>
        <translation>Klassen: {}</translation>
    </message>
    <message>
        <source>Words it knows: {}.</source>
        <translation>Wörter, die es kennt: {}.</translation>
    </message>
    <message>
        <source>Preview of the middle, {:,.0f} m x {:,.0f} m. Move the sliders.</source>
        <translation>Vorschau der Mitte, {:,.0f} m x {:,.0f} m. Die Regler verändern sie.</translation>
    </message>
    <message>
        <source>The scores of the preview cannot be read. Try again.</source>
        <translation>Die Werte der Vorschau sind nicht lesbar. Versuchen Sie es noch einmal.</translation>
    </message>
    <message>
        <source>There is no preview: the run was cancelled.</source>
        <translation>Es gibt keine Vorschau: Der Lauf wurde abgebrochen.</translation>
    </message>
    <message>
        <source>building, roof; road; water
or: all buildings with a pool</source>
        <translation>building, roof; road; water
oder: all buildings with a pool</translation>
    </message>
    <message>
        <source>What to find</source>
        <translation>Was zu finden ist</translation>
    </message>
    <message>
        <source>Log</source>
        <translation>Protokoll</translation>
    </message>
    <message>
        <source>Run again</source>
        <translation>Noch einmal starten</translation>
    </message>
    <message>
        <source>Open the folder of the results</source>
        <translation>Den Ordner der Ergebnisse öffnen</translation>
    </message>
    <message>
        <source>Take off the list</source>
        <translation>Von der Liste nehmen</translation>
    </message>
    <message>
        <source>Copy as a command</source>
        <translation>Als Befehl kopieren</translation>
    </message>
    <message>
        <source>Cancelling …</source>
        <translation>Wird abgebrochen …</translation>
    </message>
    <message>
        <source>No run yet. Runs from the toolbox show their own dialog.</source>
        <translation>Noch kein Lauf. Läufe aus der Werkzeugkiste zeigen ihren eigenen Dialog.</translation>
    </message>
    <message>
        <source>Finished in {}</source>
        <translation>Fertig in {}</translation>
    </message>
    <message>
        <source>Starting</source>
        <translation>Startet</translation>
    </message>
    <message>
        <source>Cancelled after {}</source>
        <translation>Abgebrochen nach {}</translation>
    </message>
    <message>
        <source>Failed after {}</source>
        <translation>Gescheitert nach {}</translation>
    </message>
    <message>
        <source>about {} left</source>
        <translation>noch etwa {}</translation>
    </message>
    <message>
        <source>The project was closed during the run, so its layers were not added to another one. Open the folder of the results to find them.</source>
        <translation>Das Projekt wurde während des Laufs geschlossen, darum wurden die Layer keinem anderen hinzugefügt. Sie liegen im Ordner der Ergebnisse.</translation>
    </message>
    <message>
        <source>There is no algorithm {}. Load the plugin again.</source>
        <translation>Es gibt keinen Algorithmus {}. Laden Sie die Erweiterung neu.</translation>
    </message>
    <message>
        <source>size not stated</source>
        <translation>Größe unbekannt</translation>
    </message>
    <message>
        <source>needs more memory than is free</source>
        <translation>braucht mehr Speicher, als frei ist</translation>
    </message>
    <message>
        <source>Recommended</source>
        <translation>Empfohlen</translation>
    </message>
    <message>
        <source>The model that suits the task</source>
        <translation>Das Modell, das zur Aufgabe passt</translation>
    </message>
    <message>
        <source>On this computer</source>
        <translation>Auf diesem Rechner</translation>
    </message>
    <message>
        <source>To be downloaded</source>
        <translation>Zum Herunterladen</translation>
    </message>
    <message>
        <source>Methods: {}</source>
        <translation>Verfahren: {}</translation>
    </message>
    <message>
        <source>Takes about {} of memory</source>
        <translation>Braucht etwa {} Speicher</translation>
    </message>
    <message>
        <source>Licence: {}</source>
        <translation>Lizenz: {}</translation>
    </message>
    <message>
        <source>, more than is free</source>
        <translation>, mehr als frei ist</translation>
    </message>
    <message>
        <source>Download now ({})</source>
        <translation>Jetzt herunterladen ({})</translation>
    </message>
    <message>
        <source>named by the variable GEOSEG_PYTHON</source>
        <translation>von der Variable GEOSEG_PYTHON genannt</translation>
    </message>
    <message>
        <source>named below</source>
        <translation>unten genannt</translation>
    </message>
    <message>
        <source>beside the plugin</source>
        <translation>neben der Erweiterung</translation>
    </message>
    <message>
        <source>made by GeoSeg</source>
        <translation>von GeoSeg angelegt</translation>
    </message>
    <message>
        <source>Made for another version of GeoSeg.</source>
        <translation>Für eine andere Version von GeoSeg angelegt.</translation>
    </message>
    <message>
        <source>Ready.</source>
        <translation>Bereit.</translation>
    </message>
    <message>
        <source>Check and repair</source>
        <translation>Prüfen und reparieren</translation>
    </message>
    <message>
        <source>Engine</source>
        <translation>Rechenprogramm</translation>
    </message>
    <message>
        <source>Copy report</source>
        <translation>Bericht kopieren</translation>
    </message>
    <message>
        <source>Copies versions and the last log lines, for a question for help.</source>
        <translation>Kopiert Versionen und die letzten Zeilen des Protokolls für eine Bitte um Hilfe.</translation>
    </message>
    <message>
        <source>Python interpreter of the engine</source>
        <translation>Python-Interpreter des Rechenprogramms</translation>
    </message>
    <message>
        <source>the environment that GeoSeg makes</source>
        <translation>die Umgebung, die GeoSeg anlegt</translation>
    </message>
    <message>
        <source>Interpreter</source>
        <translation>Interpreter</translation>
    </message>
    <message>
        <source>Fastest available</source>
        <translation>Das schnellste verfügbare</translation>
    </message>
    <message>
        <source>NVIDIA card (cuda)</source>
        <translation>NVIDIA-Karte (cuda)</translation>
    </message>
    <message>
        <source>All NVIDIA cards (cuda:all)</source>
        <translation>Alle NVIDIA-Karten (cuda:all)</translation>
    </message>
    <message>
        <source>Apple chip (mps)</source>
        <translation>Apple-Chip (mps)</translation>
    </message>
    <message>
        <source>Processor (cpu)</source>
        <translation>Prozessor (cpu)</translation>
    </message>
    <message>
        <source>Models</source>
        <translation>Modelle</translation>
    </message>
    <message>
        <source>Folder of models</source>
        <translation>Ordner der Modelle</translation>
    </message>
    <message>
        <source>a folder of your account</source>
        <translation>ein Ordner Ihres Kontos</translation>
    </message>
    <message>
        <source>Model folder</source>
        <translation>Modellordner</translation>
    </message>
    <message>
        <source>Downloads go there. Each subfolder with a card.json is a model as well.</source>
        <translation>Dorthin wird heruntergeladen. Auch jeder Unterordner mit einer card.json ist ein Modell.</translation>
    </message>
    <message>
        <source>For models whose authors grant access one by one. It is kept in QGIS's authentication database and sent to Hugging Face only.</source>
        <translation>Für Modelle, deren Autoren Zugang einzeln gewähren. Er liegt in der Authentifizierungsdatenbank von QGIS und wird nur an Hugging Face geschickt.</translation>
    </message>
    <message>
        <source>Forget</source>
        <translation>Vergessen</translation>
    </message>
    <message>
        <source>Hugging Face token</source>
        <translation>Hugging-Face-Token</translation>
    </message>
    <message>
        <source>The token was not stored, because QGIS's authentication database is locked. Enter its master password and try again.</source>
        <translation>Das Token wurde nicht gespeichert, weil die Authentifizierungsdatenbank von QGIS gesperrt ist. Geben Sie ihr Master-Passwort ein, und versuchen Sie es noch einmal.</translation>
    </message>
    <message>
        <source>stored</source>
        <translation>gespeichert</translation>
    </message>
    <message>
        <source>none</source>
        <translation>keines</translation>
    </message>
    <message>
        <source>Set up the engine</source>
        <translation>Das Rechenprogramm einrichten</translation>
    </message>
    <message>
        <source>The set-up failed.</source>
        <translation>Die Einrichtung ist gescheitert.</translation>
    </message>
    <message>
        <source>Not ready.</source>
        <translation>Nicht bereit.</translation>
    </message>
    <message>
        <source>The layer {!r} takes no field for the review. Save it as a GeoPackage first.</source>
        <translation>Der Layer {!r} nimmt kein Feld für die Durchsicht auf. Speichern Sie ihn zuerst als GeoPackage.</translation>
    </message>
    <message>
        <source>kept</source>
        <translation>behalten</translation>
    </message>
    <message>
        <source>deleted</source>
        <translation>gelöscht</translation>
    </message>
    <message>
        <source>replaced</source>
        <translation>ersetzt</translation>
    </message>
    <message>
        <source>added</source>
        <translation>hinzugefügt</translation>
    </message>
    <message>
        <source>likely missed</source>
        <translation>wohl übersehen</translation>
    </message>
    <message>
        <source>IoU {:.2f}</source>
        <translation>IoU {:.2f}</translation>
    </message>
    <message>
        <source>Zoom to it</source>
        <translation>Hinzoomen</translation>
    </message>
    <message>
        <source>Pan to it</source>
        <translation>Hinschwenken</translation>
    </message>
    <message>
        <source>Do not move</source>
        <translation>Nicht bewegen</translation>
    </message>
    <message>
        <source>Click on the object, then press Enter: the outline replaces this one.</source>
        <translation>Klicken Sie auf das Objekt, und drücken Sie Eingabe: Der Umriss ersetzt diesen.</translation>
    </message>
    <message>
        <source>The assessment is in the list of jobs.</source>
        <translation>Die Beurteilung steht in der Liste der Läufe.</translation>
    </message>
    <message>
        <source>Assess</source>
        <translation>Beurteilen</translation>
    </message>
    <message>
        <source>Find where these polygons are wrong</source>
        <translation>Finden, wo diese Polygone falsch sind</translation>
    </message>
    <message>
        <source>Show polygons up to this predicted IoU</source>
        <translation>Polygone bis zu dieser geschätzten IoU zeigen</translation>
    </message>
    <message>
        <source>Show polygons from this area on</source>
        <translation>Polygone ab dieser Fläche zeigen</translation>
    </message>
    <message>
        <source>Polygons to look at, the worst first</source>
        <translation>Polygone zum Ansehen, die schlechtesten zuerst</translation>
    </message>
    <message>
        <source>Polygons</source>
        <translation>Polygone</translation>
    </message>
    <message>
        <source>Missed</source>
        <translation>Übersehen</translation>
    </message>
    <message>
        <source>IoU up to</source>
        <translation>IoU bis</translation>
    </message>
    <message>
        <source>Area from</source>
        <translation>Fläche ab</translation>
    </message>
    <message>
        <source>Add (K)</source>
        <translation>Hinzufügen (K)</translation>
    </message>
    <message>
        <source>Keep (K)</source>
        <translation>Behalten (K)</translation>
    </message>
    <message>
        <source>The layer cannot be edited. Save it as a GeoPackage first.</source>
        <translation>Der Layer kann nicht bearbeitet werden. Speichern Sie ihn zuerst als GeoPackage.</translation>
    </message>
    <message>
        <source>Choose the imagery above, and the polygons to assess.</source>
        <translation>Wählen Sie oben das Bild und hier die Polygone, die beurteilt werden sollen.</translation>
    </message>
    <message>
        <source>{} - assessment</source>
        <translation>{} - Beurteilung</translation>
    </message>
    <message>
        <source>Previous</source>
        <translation>Zurück</translation>
    </message>
    <message>
        <source>Next</source>
        <translation>Weiter</translation>
    </message>
    <message>
        <source>Keep</source>
        <translation>Behalten</translation>
    </message>
    <message>
        <source>Delete</source>
        <translation>Löschen</translation>
    </message>
    <message>
        <source>Redo with Clicks</source>
        <translation>Neu mit Klicks</translation>
    </message>
    <message>
        <source>Remove Deleted</source>
        <translation>Gelöschte entfernen</translation>
    </message>
    <message>
        <source>These polygons have no ranks yet. Assess them first.</source>
        <translation>Diese Polygone haben noch keine Ränge. Lassen Sie sie zuerst beurteilen.</translation>
    </message>
    <message>
        <source>Choose polygons, and assess them on the imagery above.</source>
        <translation>Wählen Sie Polygone, und lassen Sie sie auf dem Bild oben beurteilen.</translation>
    </message>
    <message>
        <source>The layer cannot be changed. Save it as a GeoPackage first.</source>
        <translation>Der Layer kann nicht geändert werden. Speichern Sie ihn zuerst als GeoPackage.</translation>
    </message>
    <message>
        <source>There is no assessment; the list of jobs says why.</source>
        <translation>Es gibt keine Beurteilung; die Liste der Läufe sagt, warum.</translation>
    </message>
    <message>
        <source>The object cannot be added to the layer of polygons.</source>
        <translation>Das Objekt kann dem Layer der Polygone nicht hinzugefügt werden.</translation>
    </message>
    <message>
        <source>{} of {} left</source>
        <translation>noch {} von {}</translation>
    </message>
    <message>
        <source>Remove Deleted ({})</source>
        <translation>Gelöschte entfernen ({})</translation>
    </message>
    <message>
        <source>GeoSeg runs its models in a Python environment of its own. Nothing is installed into QGIS, and nothing is downloaded before you press the button.</source>
        <translation>GeoSeg führt seine Modelle in einer eigenen Python-Umgebung aus. In QGIS wird nichts installiert, und nichts wird heruntergeladen, bevor Sie den Knopf drücken.</translation>
    </message>
    <message>
        <source>Download: about {}. On the disk: about {}.</source>
        <translation>Herunterzuladen: etwa {}. Auf der Platte: etwa {}.</translation>
    </message>
    <message>
        <source>One step before the start</source>
        <translation>Ein Schritt vor dem Anfang</translation>
    </message>
    <message>
        <source>GeoSeg looks at this computer</source>
        <translation>GeoSeg sieht sich diesen Rechner an</translation>
    </message>
    <message>
        <source>Try it on what you see</source>
        <translation>An dem ausprobieren, was Sie sehen</translation>
    </message>
    <message>
        <source>Set up</source>
        <translation>Einrichten</translation>
    </message>
    <message>
        <source>The models run on this computer, without an account.</source>
        <translation>Die Modelle laufen auf diesem Rechner, ohne Konto.</translation>
    </message>
    <message>
        <source>Packages: {} and what they need.</source>
        <translation>Pakete: {} und was sie brauchen.</translation>
    </message>
    <message>
        <source>Free on this disk: {}.</source>
        <translation>Frei auf dieser Platte: {}.</translation>
    </message>
    <message>
        <source>Set up (download {})</source>
        <translation>Einrichten (Download {})</translation>
    </message>
    <message>
        <source>Assess a mask</source>
        <translation>Maske beurteilen</translation>
    </message>
    <message>
        <source>Quality</source>
        <translation>Güte</translation>
    </message>
    <message>
        <source>probabilities</source>
        <translation>Wahrscheinlichkeiten</translation>
    </message>
    <message>
        <source>repaired mask</source>
        <translation>ausgebesserte Maske</translation>
    </message>
    <message>
        <source>quality</source>
        <translation>Güte</translation>
    </message>
    <message>
        <source>assessed polygons</source>
        <translation>beurteilte Polygone</translation>
    </message>
    <message>
        <source>GeoSeg met an error of its own: {}. Please report it with the log.</source>
        <translation>GeoSeg hat einen eigenen Fehler: {}. Bitte melden Sie ihn mit dem Protokoll.</translation>
    </message>
    <message>
        <source>No output was written.</source>
        <translation>Es wurde keine Ausgabe geschrieben.</translation>
    </message>
    <message>
        <source>{} cannot be {!r}. Choose another value.</source>
        <translation>{} kann nicht {!r} sein. Wählen Sie einen anderen Wert.</translation>
    </message>
    <message>
        <source>About {} left.</source>
        <translation>Noch etwa {}.</translation>
    </message>
    <message>
        <source>These outputs were complete already: {}.</source>
        <translation>Diese Ausgaben waren schon vollständig: {}.</translation>
    </message>
    <message>
        <source>Area of each class in square metres, as a JSON object</source>
        <translation>Fläche jeder Klasse in Quadratmetern, als JSON-Objekt</translation>
    </message>
    <message>
        <source>{}: {:.1%} of the area, {:,.0f} m²</source>
        <translation>{}: {:.1%} der Fläche, {:,.0f} m²</translation>
    </message>
    <message>
        <source>scores</source>
        <translation>Werte</translation>
    </message>
    <message>
        <source>classes</source>
        <translation>Klassen</translation>
    </message>
    <message>
        <source>polygons</source>
        <translation>Polygone</translation>
    </message>
    <message>
        <source>Classify with a learnt model</source>
        <translation>Mit einem gelernten Modell klassifizieren</translation>
    </message>
    <message>
        <source>Segmentation</source>
        <translation>Segmentierung</translation>
    </message>
    <message>
        <source>Uncertainty</source>
        <translation>Unsicherheit</translation>
    </message>
    <message>
        <source>{} raster</source>
        <translation>{}, Raster</translation>
    </message>
    <message>
        <source>{} polygons</source>
        <translation>{}, Polygone</translation>
    </message>
    <message>
        <source>Evaluate against a reference</source>
        <translation>Mit einer Referenz vergleichen</translation>
    </message>
    <message>
        <source>Result and reference are both polygons: no raster gives the pixel size.</source>
        <translation>Ergebnis und Referenz sind beide Polygone: Kein Raster gibt die Pixelgröße vor.</translation>
    </message>
    <message>
        <source>Give a resolution, the size of a pixel in map units of the result.</source>
        <translation>Geben Sie eine Auflösung an, die Größe eines Pixels in Karteneinheiten des Ergebnisses.</translation>
    </message>
    <message>
        <source>Segment everything</source>
        <translation>Alles segmentieren</translation>
    </message>
    <message>
        <source>Regions</source>
        <translation>Regionen</translation>
    </message>
    <message>
        <source>Objects</source>
        <translation>Objekte</translation>
    </message>
    <message>
        <source>Inputs</source>
        <translation>Eingaben</translation>
    </message>
    <message>
        <source>Outputs</source>
        <translation>Ausgaben</translation>
    </message>
    <message>
        <source>Values</source>
        <translation>Zahlen</translation>
    </message>
    <message>
        <source>{!r} has no end, so the part that the map shows is read.</source>
        <translation>{!r} hat kein Ende, darum wird der Teil gelesen, den die Karte zeigt.</translation>
    </message>
    <message>
        <source>Taking a picture of the layer</source>
        <translation>Der Layer wird abgebildet</translation>
    </message>
    <message>
        <source>Choose an extent inside the layer, in its CRS or with [EPSG:code] behind it.</source>
        <translation>Wählen Sie eine Ausdehnung im Layer, in seinem KBS oder mit [EPSG:Nummer] dahinter.</translation>
    </message>
    <message>
        <source>The extent does not touch the layer {!r}.</source>
        <translation>Die Ausdehnung berührt den Layer {!r} nicht.</translation>
    </message>
    <message>
        <source>The server sent nothing for {:.1%} of {!r}: these pixels stay nodata. Run again later, or with a coarser resolution, to fill them.</source>
        <translation>Der Server hat für {:.1%} von {!r} nichts geschickt: Diese Pixel bleiben ohne Daten. Starten Sie später oder mit gröberer Auflösung noch einmal, um sie zu füllen.</translation>
    </message>
    <message>
        <source>the engine's libraries place it elsewhere than QGIS does</source>
        <translation>die Bibliotheken des Rechenprogramms legen ihn anderswohin als QGIS</translation>
    </message>
    <message>
        <source>QGIS copies {!r} into a file first: {}.</source>
        <translation>QGIS kopiert {!r} zuerst in eine Datei: {}.</translation>
    </message>
    <message>
        <source>Choose a raster or a polygon layer.</source>
        <translation>Wählen Sie einen Raster- oder Polygonlayer.</translation>
    </message>
    <message>
        <source>Choose one of them.</source>
        <translation>Wählen Sie eines davon.</translation>
    </message>
    <message>
        <source>The layer {!r} is neither a raster nor polygons.</source>
        <translation>Der Layer {!r} ist weder ein Raster, noch enthält er Polygone.</translation>
    </message>
    <message>
        <source>{} was given twice, as a raster and as polygons.</source>
        <translation>{} ist zweimal angegeben, als Raster und als Polygone.</translation>
    </message>
    <message>
        <source>Nothing was given for {}.</source>
        <translation>Für {} ist nichts angegeben.</translation>
    </message>
    <message>
        <source>Learn from labels</source>
        <translation>Aus Beispielen lernen</translation>
    </message>
    <message>
        <source>Manage models</source>
        <translation>Modelle verwalten</translation>
    </message>
    <message>
        <source>Built in</source>
        <translation>Mitgeliefert</translation>
    </message>
    <message>
        <source>Installed</source>
        <translation>Installiert</translation>
    </message>
    <message>
        <source>Partly downloaded</source>
        <translation>Teilweise heruntergeladen</translation>
    </message>
    <message>
        <source>Damaged</source>
        <translation>Beschädigt</translation>
    </message>
    <message>
        <source> (more than is free)</source>
        <translation> (mehr, als frei ist)</translation>
    </message>
    <message>
        <source>Choose the folder that you downloaded files to.</source>
        <translation>Wählen Sie den Ordner, in den Sie Dateien heruntergeladen haben.</translation>
    </message>
    <message>
        <source>The access token in the authentication database is not used, because its master password was not entered.</source>
        <translation>Das Zugangstoken in der Authentifizierungsdatenbank wird nicht verwendet, weil ihr Master-Passwort nicht eingegeben wurde.</translation>
    </message>
    <message>
        <source>takes about {} of memory</source>
        <translation>braucht etwa {} Speicher</translation>
    </message>
    <message>
        <source>licence: {}</source>
        <translation>Lizenz: {}</translation>
    </message>
    <message>
        <source>There is no folder {}.</source>
        <translation>Es gibt keinen Ordner {}.</translation>
    </message>
    <message>
        <source>Open-vocabulary segmentation</source>
        <translation>Segmentierung nach Wörtern</translation>
    </message>
    <message>
        <source>an input</source>
        <translation>eine Eingabe</translation>
    </message>
    <message>
        <source>The run would write nothing.</source>
        <translation>Der Lauf würde nichts schreiben.</translation>
    </message>
    <message>
        <source>Rasters are written as GeoTIFF only: choose a name that ends in .tif.</source>
        <translation>Raster werden nur als GeoTIFF geschrieben: Wählen Sie einen Namen, der auf .tif endet.</translation>
    </message>
    <message>
        <source>Create it, or choose a folder of your own.</source>
        <translation>Legen Sie ihn an, oder wählen Sie einen eigenen Ordner.</translation>
    </message>
    <message>
        <source>Remove its layer from the project, or choose another file.</source>
        <translation>Entfernen Sie den Layer aus dem Projekt, oder wählen Sie eine andere Datei.</translation>
    </message>
    <message>
        <source>Choose another file for the result.</source>
        <translation>Wählen Sie eine andere Datei für das Ergebnis.</translation>
    </message>
    <message>
        <source>Choose at least one of these outputs: {}.</source>
        <translation>Wählen Sie mindestens eine dieser Ausgaben: {}.</translation>
    </message>
    <message>
        <source>{}: {} is not the name of a GeoTIFF.</source>
        <translation>{}: {} ist nicht der Name eines GeoTIFF.</translation>
    </message>
    <message>
        <source>{}: the folder {} cannot be written to.</source>
        <translation>{}: In den Ordner {} kann nicht geschrieben werden.</translation>
    </message>
    <message>
        <source>{}: {} is open in a program, or write-protected.</source>
        <translation>{}: {} ist in einem Programm geöffnet oder schreibgeschützt.</translation>
    </message>
    <message>
        <source>{}: {} is already used as {}.</source>
        <translation>{}: {} wird schon als {} verwendet.</translation>
    </message>
    <message>
        <source>Segment by points, boxes or polygons</source>
        <translation>Segmentierung nach Punkten, Rechtecken oder Polygonen</translation>
    </message>
    <message>
        <source>Mask</source>
        <translation>Maske</translation>
    </message>
    <message>
        <source>Outlines</source>
        <translation>Umrisse</translation>
    </message>
    <message>
        <source>Reclassify scores</source>
        <translation>Werte neu klassifizieren</translation>
    </message>
    <message>
        <source>Choose the scores file that a segmentation wrote.</source>
        <translation>Wählen Sie die Datei der Werte, die eine Segmentierung geschrieben hat.</translation>
    </message>
    <message>
        <source>The raster {!r} names no class for band {}.</source>
        <translation>Das Raster {!r} nennt für Kanal {} keine Klasse.</translation>
    </message>
    <message>
        <source>No file backs the scores {!r}.</source>
        <translation>Hinter den Werten {!r} steht keine Datei.</translation>
    </message>
    <message>
        <source>Segment by instruction</source>
        <translation>Segmentierung nach Anweisung</translation>
    </message>
    <message>
        <source>{}, scores</source>
        <translation>{}, Werte</translation>
    </message>
    <message>
        <source>{}, mask</source>
        <translation>{}, Maske</translation>
    </message>
    <message>
        <source>The engine is installed; its packages are checked.</source>
        <translation>Das Rechenprogramm ist installiert; seine Pakete werden geprüft.</translation>
    </message>
    <message>
        <source>Folder of the environment</source>
        <translation>Ordner der Umgebung</translation>
    </message>
    <message>
        <source>A new or empty folder with enough space, which the GeoSeg options then point to. The data folder of your account is used when empty.</source>
        <translation>Ein neuer oder leerer Ordner mit genug Platz, auf den dann die GeoSeg-Optionen zeigen. Ist er leer gelassen, wird der Datenordner Ihres Kontos verwendet.</translation>
    </message>
    <message>
        <source>About {} GB to download, {} GB on the disk.</source>
        <translation>Etwa {} GB herunterzuladen, {} GB auf der Platte.</translation>
    </message>
    <message>
        <source>Interpreter of the engine</source>
        <translation>Interpreter des Rechenprogramms</translation>
    </message>
    <message>
        <source>Version of the engine</source>
        <translation>Version des Rechenprogramms</translation>
    </message>
    <message>
        <source>The engine runs in {}: {}.</source>
        <translation>Das Rechenprogramm läuft in {}: {}.</translation>
    </message>
    <message>
        <source>The {} names another interpreter, {}, which stays in use. Clear it to use this engine.</source>
        <translation>{} nennt einen anderen Interpreter, {}, der in Gebrauch bleibt. Leeren Sie die Angabe, um dieses Rechenprogramm zu verwenden.</translation>
    </message>
    <message>
        <source>Removed {}, which an earlier version used.</source>
        <translation>{} wurde entfernt, eine frühere Version verwendete es.</translation>
    </message>
    <message>
        <source>The polygons cannot be written to {}: {}.</source>
        <translation>Die Polygone können nicht nach {} geschrieben werden: {}.</translation>
    </message>
    <message>
        <source>the format takes no polygons with fields</source>
        <translation>das Format nimmt keine Polygone mit Feldern auf</translation>
    </message>
    <message>
        <source>Choose another file or format, or close the program that holds this one.</source>
        <translation>Wählen Sie eine andere Datei oder ein anderes Format, oder schließen Sie das Programm, das diese offen hält.</translation>
    </message>
    <message>
        <source>Make room on the disk, or choose another file, and run again.</source>
        <translation>Schaffen Sie Platz auf der Platte, oder wählen Sie eine andere Datei, und starten Sie noch einmal.</translation>
    </message>
    <message>
        <source>QGIS gives no reason</source>
        <translation>QGIS nennt keinen Grund</translation>
    </message>
    <message>
        <source>no format for vector layers has the suffix {!r}</source>
        <translation>kein Format für Vektorlayer hat die Endung {!r}</translation>
    </message>
    <message>
        <source>The polygons are kept in {}: save them from there.</source>
        <translation>Die Polygone liegen in {}: Sichern Sie sie von dort.</translation>
    </message>
    <message>
        <source>{} holds other layers ({}), which are kept.</source>
        <translation>{} enthält andere Layer ({}), die bleiben.</translation>
    </message>
    <message>
        <source>{} cannot be written to {}: {}</source>
        <translation>{} kann nicht nach {} geschrieben werden: {}</translation>
    </message>
    <message>
        <source>{} of {} polygons can be read back; the disk may be full</source>
        <translation>{} von {} Polygonen sind lesbar; vielleicht ist die Platte voll</translation>
    </message>
    <message>
        <source>Add features to it, or choose another layer.</source>
        <translation>Fügen Sie ihm Objekte hinzu, oder wählen Sie einen anderen Layer.</translation>
    </message>
    <message>
        <source>Check that the file exists and that QGIS shows it as a layer of this type.</source>
        <translation>Prüfen Sie, ob es die Datei gibt und ob QGIS sie als Layer dieser Art zeigt.</translation>
    </message>
    <message>
        <source>Select features, or clear 'Selected features only'.</source>
        <translation>Wählen Sie Objekte, oder schalten Sie die Beschränkung auf gewählte Objekte aus.</translation>
    </message>
    <message>
        <source>Choose a layer.</source>
        <translation>Wählen Sie einen Layer.</translation>
    </message>
    <message>
        <source>{}: the layer is empty.</source>
        <translation>{}: Der Layer ist leer.</translation>
    </message>
    <message>
        <source>{}: {} cannot be read.</source>
        <translation>{}: {} ist nicht lesbar.</translation>
    </message>
    <message>
        <source>{}: no feature is selected, and only selected ones are used.</source>
        <translation>{}: Kein Objekt ist gewählt, und nur gewählte werden verwendet.</translation>
    </message>
    <message>
        <source>GeoSeg options…</source>
        <translation>GeoSeg-Optionen …</translation>
    </message>
    <message>
        <source>Find what you write</source>
        <translation>Finden, was Sie schreiben</translation>
    </message>
    <message>
        <source>Outline what you click</source>
        <translation>Umreißen, was Sie anklicken</translation>
    </message>
    <message>
        <source>Look at the worst</source>
        <translation>Das Schlechteste ansehen</translation>
    </message>
    <message>
        <source>{} h {} min</source>
        <translation>{} h {} min</translation>
    </message>
    <message>
        <source>{} s</source>
        <translation>{} s</translation>
    </message>
    <message>
        <source>{} min</source>
        <translation>{} min</translation>
    </message>
</context>
</TS>
